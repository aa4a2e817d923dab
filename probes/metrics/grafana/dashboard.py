"""The dashboard for Grafana. Every expression takes the names of all vLLM versions, so that it outlives an upgrade."""

from __future__ import annotations

from collections.abc import Iterator

from probes.metrics.histograms import SHARES
from probes.metrics.quantities import BY_KEY, HISTOGRAMS, REASON, ServerMetric
from probes.metrics.traffic import HANDLER, HTTP_REQUESTS, STATUS

SERVER_JOB, CARDS_JOB = "vllm", "cards"
SCRAPE_S = 5
RATE = "$__rate_interval"  # Grafana puts in a range that holds at least four scrapes
WHERE = f'{{job="{SERVER_JOB}", instance=~"$instance"}}'
OF_CARDS = f'{{job="{CARDS_JOB}"}}'
SCHEMA_VERSION = 39  # of Grafana 10.4 and 11; later ones convert it
SOURCE = {"type": "prometheus", "uid": "${source}"}
COLUMNS, WIDTH, HEIGHT = 24, 8, 8

# Of each card, as NVIDIA's DCGM exporter and AMD's device metrics exporter call it; memory in MiB or MB alike.
BY_CARD = " by (gpu, gpu_id) "
UTILIZATION = ("DCGM_FI_DEV_GPU_UTIL", "gpu_gfx_activity")
POWER = ("DCGM_FI_DEV_POWER_USAGE", "gpu_package_power")
MEMORY = (
    ("DCGM_FI_DEV_FB_USED", ("DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE")),
    ("gpu_used_vram", ("gpu_total_vram",)),
)  # what is used, and what adds up to the whole

Curve = tuple[str, str]  # PromQL, legend
Panel = tuple[str, str, str, list[Curve]]  # title, unit, description, curves


def dashboard() -> dict[str, object]:
    """The dashboard, to be imported as it is: it asks for its data source and shows one server or all."""
    source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    instance = {
        **{"name": "instance", "label": "server", "type": "query", "datasource": SOURCE, "refresh": 2},
        **{"includeAll": True, "multi": True, "current": {"text": "All", "value": "$__all"}, "allValue": ".*"},
        "query": {"query": f'label_values(up{{job="{SERVER_JOB}"}}, instance)', "refId": "instances"},
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
    yield from http_panels()
    yield from card_panels()
    for each in HISTOGRAMS:
        curves = [(percentile(each, share), f"P{100 * share:g}") for share in SHARES]
        yield each.title, "s", f"{each.meaning}. Percentiles are interpolated.", [*curves, (mean(each), "mean")]


def http_panels() -> Iterator[Panel]:
    """What clients ask, and how it is answered."""
    by_status, by_handler = (_rate(HTTP_REQUESTS, label) for label in (STATUS, HANDLER))
    scope = "HTTP requests answered, health and metrics left out."
    yield "HTTP requests per second by status", "short", scope, [(by_status, f"{{{{{STATUS}}}}}")]
    yield "HTTP requests per second by handler", "short", scope, [(by_handler, f"{{{{{HANDLER}}}}}")]


def card_panels() -> Iterator[Panel]:
    """What the cards do, where an exporter of their maker's tells."""
    legend = "{{gpu}}{{gpu_id}}"
    used = " or ".join(f"{_cards(used)} / ({' + '.join(map(_cards, whole))})" for used, whole in MEMORY)
    busy = " or ".join(map(_cards, UTILIZATION))
    yield "Cards: utilization", "percent", "Share of the time in which a kernel ran.", [(busy, legend)]
    yield "Cards: memory in use", "percentunit", "By all processes.", [(used, legend)]
    yield "Cards: power", "watt", "As the driver tells it.", [(" or ".join(map(_cards, POWER)), legend)]


def _cards(name: str) -> str:
    return f"max{BY_CARD}({name}{OF_CARDS})"


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
