"""Files to watch a server for longer: a configuration for Prometheus, a dashboard for Grafana.

Every expression takes the names of all vLLM versions, so a dashboard outlives an upgrade; nothing asks the server.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from probes.errors import EnginescopeError
from probes.metrics.endpoint import Endpoint
from probes.metrics.quantities import COUNTERS, GAUGES, HISTOGRAMS, REASON, SHARES, ServerMetric

CONFIGURATION = "prometheus.yml"
DASHBOARD = "vllm-dashboard.json"
SCRAPE_S = 5
RATE = "$__rate_interval"  # Grafana puts in a range that holds at least four scrapes
WHERE = '{job="vllm", instance=~"$instance"}'
SCHEMA_VERSION = 39  # of Grafana 10.4 and 11; later ones convert it
SOURCE = {"type": "prometheus", "uid": "${source}"}
COLUMNS, WIDTH, HEIGHT = 24, 8, 8
BY_KEY = {each.key: each for each in (*GAUGES, *COUNTERS, *HISTOGRAMS)}

Curve = tuple[str, str]  # PromQL, legend
Panel = tuple[str, str, str, list[Curve]]  # title, unit, description, curves


def write(at: Endpoint, folder: Path, force: bool = False) -> list[Path]:
    """Write both files into `folder`; refused where they are there already, unless `force`."""
    texts = {CONFIGURATION: configuration(at), DASHBOARD: json.dumps(dashboard(), indent=2) + "\n"}
    there = [str(folder / name) for name in texts if (folder / name).exists()]
    if there and not force:
        raise EnginescopeError(f"{' and '.join(there)} exists already; --force overwrites it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise EnginescopeError(f"cannot write into {folder}: {error.strerror}") from None
    return [folder / name for name in texts]


def configuration(at: Endpoint) -> str:
    """`prometheus.yml` with this server as its one target. JSON's strings are YAML's."""
    return f"""# Start it with: prometheus --config.file={CONFIGURATION}
global:
  scrape_interval: {SCRAPE_S}s
scrape_configs:
  - job_name: vllm
    scheme: {at.scheme}
    metrics_path: {json.dumps(at.path)}
    static_configs:
      - targets: [{json.dumps(at.authority)}]
"""


def dashboard() -> dict[str, object]:
    """The dashboard, to be imported as it is: it asks for its data source and shows one server or all."""
    source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    instance = {
        **{"name": "instance", "label": "server", "type": "query", "datasource": SOURCE, "refresh": 2},
        **{"includeAll": True, "multi": True, "current": {"text": "All", "value": "$__all"}, "allValue": ".*"},
        "query": {"query": 'label_values(up{job="vllm"}, instance)', "refId": "instances"},
    }
    return {
        **{"uid": "enginescope-vllm", "title": "vLLM", "tags": ["vllm", "enginescope"], "editable": True},
        **{"schemaVersion": SCHEMA_VERSION, "version": 1, "refresh": f"{SCRAPE_S}s"},
        "time": {"from": "now-15m", "to": "now"},
        "templating": {"list": [source, instance]},
        "panels": [_panel(at, panel) for at, panel in enumerate(panels())],
    }


def panels() -> Iterator[Panel]:
    """What the dashboard shows, in reading order."""
    requests = [(gauge(BY_KEY[key]), key) for key in ("running", "waiting")]
    yield "Requests", "short", "Running in a batch, and waiting for a place.", requests
    use = [(gauge(BY_KEY["kv_cache_usage"], "avg"), "in use")]
    yield "KV cache in use", "percentunit", BY_KEY["kv_cache_usage"].meaning + "; the mean over engines.", use
    tokens = [(rate(BY_KEY[key]), title) for key, title in (("prompt_tokens", "prompt"), ("generation_tokens", "out"))]
    yield "Tokens per second", "short", "Prompt tokens (cached ones included) and generated tokens.", tokens
    hits = f"({rate(BY_KEY['prefix_hits'])}) / ({rate(BY_KEY['prefix_queries'])})"
    yield "Prefix-cache hit rate", "percentunit", "Share of the prompt tokens looked up.", [(hits, "hit rate")]
    yield "Preemptions per second", "short", BY_KEY["preemptions"].meaning, [(rate(BY_KEY["preemptions"]), "preempted")]
    finished = [(rate(BY_KEY["finished"], REASON), f"{{{{{REASON}}}}}")]
    yield "Finished requests per second", "short", BY_KEY["finished"].meaning, finished
    for each in HISTOGRAMS:
        curves = [(percentile(each, share), f"P{100 * share:g}") for share in SHARES]
        yield each.title, "s", f"{each.meaning}. Percentiles are interpolated.", [*curves, (mean(each), "mean")]


def gauge(quantity: ServerMetric, over: str = "sum") -> str:
    """A gauge over all engines, under whichever name is there; of several API servers' reports the largest."""
    return " or ".join(f"{over}(max without (pid) ({name}{WHERE}))" for name in quantity.names)


def rate(quantity: ServerMetric, by: str = "") -> str:
    """A counter's rate over all engines; Prometheus sees to its resets."""
    return " or ".join(_rate(name, by) for name in quantity.names)


def percentile(quantity: ServerMetric, share: float) -> str:
    """A quantile of a histogram over all engines, in seconds."""
    return " or ".join(f"histogram_quantile({share}, {_rate(f'{name}_bucket', 'le')})" for name in quantity.names)


def mean(quantity: ServerMetric) -> str:
    """A histogram's mean, in seconds."""
    return " or ".join(f"{_rate(f'{name}_sum')} / {_rate(f'{name}_count')}" for name in quantity.names)


def _rate(name: str, by: str = "") -> str:
    return f"sum{f' by ({by}) ' if by else ''}(rate({name}{WHERE}[{RATE}]))"


def _panel(at: int, panel: Panel) -> dict[str, object]:
    """A panel in its place in the grid, three to a row."""
    title, unit, description, curves = panel
    row, column = divmod(at, COLUMNS // WIDTH)
    return {
        **{"id": at + 1, "type": "timeseries", "title": title, "description": description, "datasource": SOURCE},
        "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": {"fillOpacity": 10}}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
            for number, (expression, legend) in enumerate(curves)
        ],
    }
