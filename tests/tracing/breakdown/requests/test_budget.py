"""Every nanosecond of a request once: known stage times come back, and a site that is taken out is missed exactly."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from notes.traces import shapetrace
from tests.tracing.stories import DURATIONS, KEY, only, stream
from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.breakdown.budgets import account
from tracing.breakdown.requests import budget, hops, waits
from tracing.breakdown.requests.parts import parts
from tracing.breakdown.requests.pieces import pieces
from tracing.timeline.index import Index
from tracing.timeline.requests import Flow, flows
from tracing.timeline.spans import Timeline


@settings(max_examples=25, deadline=None)
@given(DURATIONS)
def test_known_stage_times_come_back_exactly(ns: list[int]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        story = stream(Path(scratch), ns)
        index, flow = only(Path(scratch))
        assert flow.state == "stopped" and flow.missing == ()
        assert (flow.start_ns, flow.end_ns) == (1000, story.now)
        found = budget.budget(index, flow)
        assert {part: value for part, value in found.items() if value} == {p: v for p, v in story.parts.items() if v}
        assert sum(found.values()) == flow.latency_ns


def brute_force(index: Index, flow: Flow, without: str | None = None) -> set[int]:
    """The instants that some piece explains, leaving out all that rests on a site."""
    explained: set[int] = set()
    for piece in pieces(index, flow):
        if without is None or without not in index.site(np.array(piece.rows)):
            explained |= set(range(piece.start_ns, piece.end_ns))
    return explained


def taken_out(read: Timeline, site: str) -> Timeline:
    return replace(read, spans=read.spans[read.spans["site"] != site].reset_index(drop=True))


# Without these there is no telling whose the rest is, or when it began: the request itself is another one then.
IDENTITY = ("input.assign_id", "async.generate", "scheduler.free", "core.add_request", "core.receive")


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=40, max_size=40), st.data())
def test_a_site_taken_out_is_missed_by_what_it_alone_covered(ns: list[int], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        stream(Path(scratch), ns)
        index, flow = only(Path(scratch))
        sites = sorted(set(index.timeline.spans["site"].astype(str)) - set(IDENTITY))
        site = data.draw(st.sampled_from(sites))
        alone = len(brute_force(index, flow) - brute_force(index, flow, site))
        without = budget.budget(Index(taken_out(index.timeline, site)), flow)
        assert without[budget.UNEXPLAINED] == budget.budget(index, flow)[budget.UNEXPLAINED] + alone
        assert sum(without.values()) == flow.latency_ns


SPANS = st.lists(
    st.tuples(
        st.sampled_from(["scheduler.schedule", "kv.allocate", "runner.forward", "executor.wait", "output.process"]),
        st.integers(900, 1400),
        st.integers(0, 200),
    ),
    max_size=15,
)


@settings(max_examples=60, deadline=None)
@given(SPANS)
def test_overlapping_spans_never_count_twice(spans: list[tuple[str, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        core = TraceWriter(Path(scratch), 11, ["core"]).batch(0, {"a-1": 1}).message(0, KEY).counts(0, {})
        for site, start, length in spans:
            core.span(site, start, start + length, step=KEY if site == "output.process" else 0)
        core.close()
        index = Index(timeline.read(Path(scratch)))
        none = np.array([0])
        flow = Flow("a-1", "a", None, 11, 11, 1000, 1300, "finished", (), 1, 1, none, np.array([KEY]))
        found = budget.budget(index, flow)
        assert sum(found.values()) == 300 and min(found.values()) >= 0
        assert found[budget.UNEXPLAINED] == 300 - len(brute_force(index, flow) & set(range(1000, 1300)))


def test_hops_with_their_latency_and_bytes(tmp_path: Path) -> None:
    stream(tmp_path, list(range(1, 41)), steps=1)
    index, flow = only(tmp_path)
    found = hops.hops(index, [flow]).set_index("hop")
    assert list(found.index) == ["front end → core", "core → front end", "core → worker"]
    assert found.loc["front end → core", "bytes"] == 99
    assert (found["latency_ns"] > 0).all()


def test_waits_have_two_ends(tmp_path: Path) -> None:
    stream(tmp_path, [7] * 40)
    index, flow = only(tmp_path)
    for wait in waits.waits(index, flow):
        assert wait.start_ns in (index.end[wait.after], index.start[wait.after])
        assert wait.end_ns == index.start[wait.before]


def test_a_request_that_waits_for_remote_kv_is_not_in_the_schedulers_queue(tmp_path: Path) -> None:
    """Each step the scheduler looks whether its blocks have come."""
    core = TraceWriter(tmp_path, 11, ["core"]).span("core.add_request", 1000, 1010, "a-1", value=1)
    for at, waited in ((1020, 0), (1100, 80), (1200, 180)):
        core.span("kv.remote_wait", at, at + 2, "a-1", value=waited)
    core.span("scheduler.schedule", 1230, 1290, step=0).batch(0, {"a-1": 1}).counts(0, {}).message(0, KEY).close()
    index = Index(timeline.read(tmp_path))
    flow = Flow("a-1", "a", None, 11, 11, 1000, 1300, "finished", (), 1, 1, np.array([0]), np.array([KEY]))
    found = budget.budget(index, flow)
    assert found["wait: remote KV"] == 1200 - 1022 - 2  # without the look between
    assert found["wait: scheduler queue"] == (1020 - 1010) + (1230 - 1202)


SITES = ["scheduler.schedule", "kv.allocate", "runner.forward", "executor.wait", "queue.get", "core.step", "gc"]
MORE = ["scheduler.update", "core.encode", "client.receive", "output.process", "output.deliver", "core.add_request"]
STEPS = st.lists(
    st.tuples(st.sampled_from([*SITES, *MORE]), st.integers(0, 5), st.integers(0, 900), st.integers(0, 300)),
    min_size=20,
    max_size=80,
)
REQUESTS = st.lists(st.tuples(st.sets(st.integers(0, 5)), st.integers(0, 500), st.integers(1, 900)), max_size=6)


def tangle(folder: Path, spans: list[tuple[str, int, int, int]]) -> Index:
    """Spans of six steps in a front end, a core and a worker, wherever they fall."""
    writers = {
        "front end": TraceWriter(folder, 10, ["front end"]),
        "core": TraceWriter(folder, 11, ["core", "core output"], parent=10),
        "worker": TraceWriter(folder, 12, ["worker"], parent=11),
    }
    roles = {"client": "front end", "output": "front end", "runner": "worker"}
    for place, (site, step, start, length) in enumerate(spans):
        role = roles.get(site.partition(".")[0], "core")
        number = KEY + step if role == "front end" or site == "core.encode" else step
        request = f"{place % 6}-x" if site in ("output.deliver", "core.add_request") else None
        thread = 3 if site == "core.encode" else 1
        writers[role].span(site, start, start + length, request, step=number, thread=thread)
    for step in range(6):
        writers["core"].message(step, KEY + step)
    for writer in writers.values():
        writer.close()
    return Index(timeline.read(folder))


def sum_of_parts(index: Index, flow: Flow) -> dict[str, int]:
    """A request's nanoseconds by part, by the way that looks at one request alone."""
    total = {budget.UNEXPLAINED: 0}
    for part in parts(index, flow):
        total[part.name] = total.get(part.name, 0) + part.end_ns - part.start_ns
    return total


def known(row: dict[str, int]) -> dict[str, int]:
    """A row of budgets without the parts that took no time."""
    return {name: ns for name, ns in row.items() if ns or name == budget.UNEXPLAINED}


OF_NO_LENGTH = [
    *(("scheduler.schedule", 0, 80, 20), ("scheduler.update", 0, 520, 20), ("scheduler.schedule", 2, 150, 20)),
    *(("scheduler.update", 2, 480, 20), ("kv.allocate", 2, 370, 0), ("kv.allocate", 3, 330, 0)),
]


@settings(max_examples=30, deadline=None)
@given(STEPS, REQUESTS, st.integers(1, 7))
@example(OF_NO_LENGTH, [({0, 3}, 50, 600)], 1)
def test_the_budgets_of_all_requests_are_the_sums_of_the_parts_of_each(
    spans: list[tuple[str, int, int, int]], asked: list[tuple[set[int], int, int]], at_once: int
) -> None:
    """However many are taken at once."""
    with tempfile.TemporaryDirectory() as scratch, mock.patch.object(account, "AT_ONCE", at_once):
        index = tangle(Path(scratch), spans)
        listed = [
            Flow(
                f"{place}-x", str(place), None, 10, 11, start, start + length, "finished", (), 1, 1, steps, KEY + steps
            )
            for place, (numbers, start, length) in enumerate(asked)
            for steps in [np.array(sorted(numbers), dtype=np.int64)]
        ]
        rows = budget.budgets(index, listed).to_dict("records")
        for flow, row in zip(listed, rows, strict=True):
            assert known(row) == sum_of_parts(index, flow)


@pytest.mark.parametrize("shape", shapetrace.shapes())
def test_the_budgets_of_recorded_requests_are_the_sums_of_their_parts(shape: str) -> None:
    """What belongs to one is the same by the way that takes many at once and by the one that takes each alone."""
    index = Index(shapetrace.read(shape).timeline)
    listed = flows(index)
    rows = budget.budgets(index, listed).to_dict("records")
    assert [known(row) for row in rows] == [sum_of_parts(index, flow) for flow in listed]
