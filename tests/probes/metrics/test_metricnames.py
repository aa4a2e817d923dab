"""The table of every version's metrics, how it is read out of a source tree, and what gauges of several engines are."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from probes.errors import EnginescopeError
from probes.metrics.names.__main__ import main
from probes.metrics.names.declarations import Declaration, read
from probes.metrics.names.gauges import HOW, together
from probes.metrics.names.table import load, made_of, save
from probes.metrics.quantities import COUNTERS, GAUGES, HISTOGRAMS
from tests.needs import needs_vllm
from tests.tracing.sites.test_sites_neighbours import DOWNLOAD_S, NEIGHBOURS, unpacked

# The ways in which vLLM has declared metrics so far.
LOGGERS = """
class PrometheusStatLogger:
    def __init__(self, config):
        labelnames = ["model_name", "engine"]
        self.by_reason = self._gauge_cls(
            name="vllm:waiting_by_reason",
            documentation="Waiting " "requests.",
            multiprocess_mode="mostrecent",
            labelnames=labelnames + ["reason"],
        )
        if config.show_hidden_metrics:
            counter = self._counter_cls(name="vllm:prompt_tokens", documentation="Tokens.", labelnames=labelnames)

    def log_info(self, labels):
        name = None
        name = "vllm:config_info"
        gauge = self._gauge_cls(name=name, documentation="Facts.", labelnames=labels.keys())
"""
OTHERS = """
from prometheus_client import Histogram, Gauge
DELAY, SIZE = "vllm:delay_seconds", "vllm:not_found"
STATE_LABELS = ["state"]

class Names:
    SAVED = "vllm:saved_bytes"

PLANS = {Names.SAVED: OffloadingCounterMetadata(documentation="Bytes.", labelnames=("tier",))}
sessions = Gauge("vllm:sessions", "Open ones.", STATE_LABELS)

class Prom:
    def __init__(self, labelnames):
        pairs = [("vllm:drafts", "Drafts."), ("vllm:draft_tokens", "Tokens.")]
        self.counters = [self._counter_cls(name=n, documentation=d, labelnames=labelnames) for n, d in pairs]
        self.lookups = prometheus_client.Counter(
            "vllm:lookups", "In terms of number of queried blocks.", labelnames=self._labelnames + [*STATE_LABELS]
        )
        Histogram(name=made_up(1), documentation="Not written out.", labelnames=labelnames)
        Histogram(name=metric.name, labels=metric.labels, count=1)
"""


def tree(folder: Path, version: str = "0.40.1") -> Path:
    files = {"_version.py": f"__version__ = version = '{version}'\n", "v1/metrics/loggers.py": LOGGERS, "a.py": OTHERS}
    for name, text in files.items():
        (folder / "vllm" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "vllm" / name).write_text(text)
    return folder


def test_metrics_are_read_out_of_a_tree_by_its_syntax(tmp_path: Path) -> None:
    found = read(tree(tmp_path))
    logged = ("model_name", "engine")
    assert found.version == "0.40.1"
    assert found.declarations == [
        Declaration("vllm:config_info", "gauge", None, ""),
        Declaration("vllm:draft_tokens_total", "counter", logged, "tokens"),
        Declaration("vllm:drafts_total", "counter", logged, ""),
        Declaration("vllm:lookups_total", "counter", (*logged, "state"), "blocks"),
        Declaration("vllm:prompt_tokens_total", "counter", logged, "tokens"),
        Declaration("vllm:saved_bytes_total", "counter", (*logged, "tier"), "bytes"),
        Declaration("vllm:sessions", "gauge", ("state",), ""),
        Declaration("vllm:waiting_by_reason", "gauge", (*logged, "reason"), "", "mostrecent"),
    ]
    assert found.unread == ["a.py:19"]
    assert read(tmp_path / "vllm") == found


def test_what_is_no_tree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnginescopeError, match="no source tree of vLLM"):
        read(tmp_path)


def test_nothing_to_take_into_the_table_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["probes.metrics.names", "--write"])
    with pytest.raises(EnginescopeError, match="--write needs the trees to take in"):
        main()


def test_a_table_says_from_when_to_when(tmp_path: Path) -> None:
    one, two = Declaration("vllm:a", "gauge", None, "s"), Declaration("vllm:a", "gauge", ("x",), "s", "sum")
    table = made_of({"0.10.0": [one], "0.9.2": [one], "0.11.0": [two], "0.12.0": [one]})
    assert table.versions == ("0.9.2", "0.10.0", "0.11.0", "0.12.0")
    assert [table.spans(metric) for metric in table.metrics] == [
        [("0.9.2", "0.10.0"), ("0.12.0", "0.12.0")],
        [("0.11.0", "0.11.0")],
    ]
    save(table, tmp_path / "metrics.json")
    assert load(tmp_path / "metrics.json") == table
    with pytest.raises(EnginescopeError, match=r"has no vLLM 0\.13\.0"):
        table.of("0.13.0")


def test_reading_a_version_anew_leaves_the_others(tmp_path: Path) -> None:
    old = Declaration("vllm:a", "gauge", None, "s")
    table = made_of({"0.9.2": [old], "0.40.1": [old]}).with_trees([read(tree(tmp_path))])
    assert table.of("0.9.2") == (old,) and old not in table.of("0.40.1") and len(table.of("0.40.1")) == 8


@needs_vllm
def test_the_table_has_the_installed_version_as_it_is() -> None:
    spec = find_spec("vllm")
    assert spec is not None and spec.submodule_search_locations
    installed = read(Path(spec.submodule_search_locations[0]))
    assert set(load().of(installed.version)) == set(installed.declarations)


@pytest.mark.slow(8)
@pytest.mark.timeout(DOWNLOAD_S)
@pytest.mark.parametrize(("distribution", "version"), NEIGHBOURS)
def test_the_table_has_the_releases_beside_it_as_they_are(distribution: str, version: str) -> None:
    neighbour = read(unpacked(distribution, version))
    assert neighbour.version == version and set(load().of(version)) == set(neighbour.declarations)


def test_every_gauge_of_every_version_has_its_way_over_engines() -> None:
    gauges = {metric.declaration.name for metric in load().metrics if metric.declaration.kind == "gauge"}
    assert gauges == set(HOW)


def test_the_quantities_go_by_names_that_some_version_has() -> None:
    known = {(metric.declaration.name, metric.declaration.kind) for metric in load().metrics}
    kinds = {"gauge": GAUGES, "counter": COUNTERS, "histogram": HISTOGRAMS}
    assert {(name, kind) for kind, group in kinds.items() for each in group for name in each.names} <= known


def series(*values: tuple[str, str, float]) -> dict[tuple[tuple[str, str], ...], float]:
    return {(("engine", engine), ("pid", pid)): value for engine, pid, value in values}


@pytest.mark.parametrize(
    ("name", "whole"),
    [("vllm:num_requests_running", 7), ("vllm:kv_cache_usage_perc", 3.5), ("vllm:lora_requests_info", 5)],
)
def test_gauges_of_several_engines_and_api_servers(name: str, whole: float) -> None:
    """Of two API servers of an engine the one with the larger value is told the engine's state."""
    assert together(name, series(("0", "11", 2), ("0", "12", 0), ("1", "13", 5))) == whole
    assert together(name, {}) is None
