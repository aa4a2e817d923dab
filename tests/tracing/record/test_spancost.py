"""A span's cost is that of the kinds of spans that were written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.tracing.hooks.eventrecords import numbers, spans, written
from tests.tracing.tracerecords import recorded
from tests.tracing.traces import TraceWriter
from tracing.breakdown.cost import recorder_cost
from tracing.events import layout
from tracing.record import spancost
from tracing.sites.engine import ALL_SITES, CODES
from tracing.timeline import read


@pytest.mark.parametrize(
    ("site", "kind"),
    [
        ("runner.update", "plain_ns"),
        ("kv.lookup", "request_ns"),
        ("core.send", "request_ns"),
        ("executor.wait", "python_ns"),
        ("core.encode", "python_ns"),
        ("scheduler.schedule", "schedule_ns"),
        ("scheduler.update", "update_ns"),
        ("async.generate", "segment_ns"),
    ],
)
def test_the_kind_of_a_site(site: str, kind: str) -> None:
    assert spancost.kind_of(ALL_SITES[CODES[site]]).__name__ == kind


def test_kinds_count_by_their_spans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, cost in (("plain_ns", 100.0), ("segment_ns", 1000.0)):
        monkeypatch.setattr(spancost, name, lambda cost=cost: cost)
    writer = TraceWriter(tmp_path, 7, ["front end"])
    for start in range(8):
        writer.span("runner.update", start, start + 1)
    writer.span("async.generate", 20, 21).close()
    counts = spancost.span_counts(tmp_path)
    assert counts == {"runner.update": 8, "async.generate": 1}
    costs = spancost.ns_by_site(counts)
    assert costs == {"runner.update": 100.0, "async.generate": 1000.0}
    assert spancost.ns_per_span(counts, costs) == 200.0


def test_every_kind_can_be_measured() -> None:
    for site in (
        "runner.update",
        "kv.lookup",
        "executor.wait",
        "scheduler.schedule",
        "scheduler.update",
        "async.abort",
    ):
        assert isinstance(spancost.ns_by_site({site: 1})[site], float)


def test_other_work_on_the_machine_is_no_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before and after 2,000 plain calls, then before and after as many hooked ones, in processor time."""
    readings = iter([0, 100_000, 300_000, 1_000_000])
    monkeypatch.setattr(spancost, "time", SimpleNamespace(thread_time_ns=lambda: next(readings)))
    assert spancost.plain_ns() == (700_000 - 100_000) / 2000


def test_the_spans_of_a_step_are_measured_with_all_that_is_written_for_it() -> None:
    """Its batch, its counts, and the key of the message that it makes for a front end."""
    with written(1 << 20) as path:
        spancost.schedule_ns()
        spancost.update_ns()
        lists = [len(numbers(path, code)) for code in (layout.BATCH, layout.COUNTS, layout.MESSAGE)]
        assert lists == [spancost.CALLS] * 3 and len(spans(path)) == 2 * spancost.CALLS


def test_nothing_recorded_costs_what_is_not_known(tmp_path: Path) -> None:
    counts = spancost.span_counts(tmp_path)
    assert spancost.ns_by_site(counts) == {} and spancost.ns_per_span(counts, {}) is None


def test_the_share_is_that_of_the_thread_whose_spans_cost_most(tmp_path: Path) -> None:
    """Of 1,000 ns with traffic: three cheap spans in the front end, 30 ns, beside one of the core's, 200 ns."""
    front = TraceWriter(tmp_path, 7, ["front end"])
    for start in (0, 10, 20):
        front.span("output.process", start, start + 1, step=0)
    front.close()
    TraceWriter(tmp_path, 8, ["core"]).span("scheduler.schedule", 0, 1000, step=0).close()
    trace = recorded(tmp_path, ns_per_span=57.5, ns_by_site={"output.process": 10.0, "scheduler.schedule": 200.0})
    assert recorder_cost(read(tmp_path), trace, ()).share == 0.2
    older = replace(trace, ns_by_site={})
    assert recorder_cost(read(tmp_path), older, ()).share == pytest.approx(3 * 0.0575)
