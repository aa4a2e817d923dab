"""What the recorder cost, from the calls around which it was measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracing.traces import TraceWriter
from tracing.breakdown.cost import recorder_cost
from tracing.timeline import read


def test_a_span_costs_what_those_of_its_site_in_its_process_did(tmp_path: Path) -> None:
    """1,000 ns of traffic with one step: the front end's thread takes 40 ns of it, the core's 300 and 20."""
    front = TraceWriter(tmp_path, 7, ["front end"])
    for start in (0, 10):
        front.span("scope", start, start + 1, step=5)
    front.cost("scope", 10).cost("scope", 30).close()
    core = TraceWriter(tmp_path, 8, ["core"])
    core.span("scheduler.schedule", 0, 1000, step=0).span("scope", 5, 6, step=0)
    core.cost("scheduler.schedule", 300).cost("scope", 20).close()
    cost = recorder_cost(read(tmp_path), ())
    assert (cost.spans, cost.ns_per_span, cost.ns_per_step, cost.share) == (4, 90, 360, 0.32)


def test_a_site_that_was_never_measured_costs_what_the_others_did(tmp_path: Path) -> None:
    core = TraceWriter(tmp_path, 7, ["core"])
    core.span("scheduler.schedule", 0, 100, step=0).span("scheduler.free", 10, 11, step=0)
    core.cost("scheduler.schedule", 8).close()
    assert recorder_cost(read(tmp_path), ()).ns_per_step == 16


def test_what_was_interrupted_is_no_cost(tmp_path: Path) -> None:
    core = TraceWriter(tmp_path, 7, ["core"]).span("scheduler.schedule", 0, 100, step=0)
    for ns in (2, 2, 2, 4_000_000):
        core.cost("scheduler.schedule", ns)
    core.close()
    assert recorder_cost(read(tmp_path), ()).ns_per_step == (3 * 2 + 10 * 2) / 4


def test_what_came_before_and_after_the_traffic_is_not_in_it(tmp_path: Path) -> None:
    core = TraceWriter(tmp_path, 7, ["core"])
    for start in (0, 100, 900):
        core.span("scope", start, start + 1, step=0 if start == 100 else -1)
    core.cost("scope", 1).close()
    assert recorder_cost(read(tmp_path), ()).share == 1.0


def test_without_a_measured_call_it_is_not_known(tmp_path: Path) -> None:
    TraceWriter(tmp_path, 7, ["core"]).span("scheduler.schedule", 0, 100, step=0).close()
    cost = recorder_cost(read(tmp_path), ())
    assert (cost.ns_per_span, cost.ns_per_step, cost.share) == (None, None, None)


SITES = ("scheduler.schedule", "kv.lookup", "scope", "queue.put")


@given(
    spans=st.lists(st.tuples(st.sampled_from(SITES), st.integers(1, 3)), min_size=1, max_size=30),
    costs=st.lists(st.tuples(st.sampled_from(SITES), st.integers(1, 9)), min_size=1, max_size=12),
)
def test_it_lies_between_the_least_and_the_most_that_was_measured(
    tmp_path_factory: pytest.TempPathFactory, spans: list[tuple[str, int]], costs: list[tuple[str, int]]
) -> None:
    """Whatever ran; and no thread's share is more than that of all threads together."""
    folder = tmp_path_factory.mktemp("trace")
    writer = TraceWriter(folder, 7, ["core"])
    for place, (site, thread) in enumerate(spans):
        writer.span(site, 10 * place, 10 * place + 1, step=0, thread=thread)
    for site, ns in costs:
        writer.cost(site, ns)
    writer.close()
    cost = recorder_cost(read(folder), ())
    assert cost.ns_per_span is not None and cost.share is not None
    window = 10 * (len(spans) - 1) + 1
    assert min(ns for _, ns in costs) <= cost.ns_per_span <= max(ns for _, ns in costs)
    assert cost.share * window <= cost.ns_per_span * len(spans) * (1 + 1e-9)
