"""Our ranges and marks in a report: they give the review that the same spans give as event files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings

from probes.errors import EnginescopeError
from tests.tracing.nsys.nsysfiles import NsysWriter, captured
from tests.tracing.stories import DURATIONS, NS, stream
from tests.tracing.timeline.test_anatomy import write as write_steps
from tracing.breakdown.findings import analyze
from tracing.breakdown.requests import budget
from tracing.events.layout import TRACED
from tracing.nsys import file as nsysfile
from tracing.nsys import ranges
from tracing.nsys.reportreview import review_report
from tracing.timeline import requests
from tracing.timeline.index import Index
from tracing.timeline.spans import Timeline


def budgets(read: Timeline) -> list[dict[str, int]]:
    index = Index(read)
    return [budget.budget(index, flow) for flow in requests.flows(index)]


@settings(max_examples=25, deadline=None)
@given(ns=DURATIONS)
def test_ranges_alone_give_the_budgets_of_the_event_files(ns: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stream(Path(folder), ns)
        read, report = captured(Path(folder), later=ns[0] % 2 == 0)
        assert budgets(ranges.timeline(nsysfile.read(report))) == budgets(read)


def test_the_whole_review_is_that_of_the_event_files(tmp_path: Path) -> None:
    stream(tmp_path, NS)
    read, report = captured(tmp_path, clock_ns=500)
    ours = analyze(read).review
    review = review_report(report)
    for part in ("requests", "budget", "steps", "hops", "slow_steps", "roles", "unexplained_share_median"):
        assert getattr(review.findings.review, part) == getattr(ours, part), part
    assert review.findings.review.problems == () and review.findings.review.gpu is None
    assert review.as_dict()["clock"] == {"offset_ns": 500, "uncertainty_ns": 1}


def test_clock_marks_that_contradict_each_other_are_an_error(tmp_path: Path) -> None:
    """The clock of the report went 400 ns slower between two pairs of marks; it was an uncertainty of 200 ns."""
    writer = NsysWriter(tmp_path / "r.sqlite").range(9, 1, 10, 20, "kv.lookup a", 4)
    for at, clock in ((1, 101), (2, 102), (1000, 1500), (1001, 1501)):
        writer.mark(9, 1, at, ["process", 1, "core"], clock)
    with pytest.raises(EnginescopeError, match=r"contradict each other by 0\.4 µs"):
        ranges.clock(nsysfile.read(writer.close()))


def test_steps_and_their_phases(tmp_path: Path) -> None:
    write_steps(tmp_path, collection=3)
    read, report = captured(tmp_path)
    assert review_report(report).findings.review.steps == analyze(read).review.steps


def test_what_a_mark_says_is_of_the_range_before_it(tmp_path: Path) -> None:
    writer = NsysWriter(tmp_path / "r.sqlite")
    writer.range(9, 1, 10, 20, "kv.lookup a", 4).mark(9, 1, 21, ["told", "kv.lookup", 32, 0, None, 0], 4)
    writer.range(9, 1, 30, 40, "kv.lookup b", 4).range(9, 2, 31, 41, "kv.lookup c", 4)
    writer.range(9, 1, 50, 60, "core.receive").mark(9, 1, 61, ["told", "client.receive", 7, 0, None, 0], 10**15)
    writer.range(9, 1, 70, 80, "llm.add_request d").mark(9, 1, 81, ["told", "llm.add_request", 0, 0, None, 1], -1)
    spans = ranges.timeline(nsysfile.read(writer.close())).spans
    columns = ["site", "request", "value", "step", "raised", "thread"]
    assert spans[columns].astype(object).where(spans[columns].notna(), None).to_numpy().tolist() == [
        ["kv.lookup", "a", 32, 4, False, 1],
        ["kv.lookup", "b", 0, 4, False, 1],
        ["kv.lookup", "c", 0, 4, False, 2],
        ["client.receive", None, 7, 10**15, False, 1],
        ["llm.add_request", "d", 0, -1, True, 1],
    ]


def test_a_request_that_was_preempted_in_its_step_was_not_in_it(tmp_path: Path) -> None:
    writer = NsysWriter(tmp_path / "r.sqlite")
    writer.range(9, 1, 10, 20, "kv.allocate a", 0).range(9, 1, 20, 30, "kv.allocate b", 0)
    writer.range(9, 1, 30, 40, "kv.allocate c", 0).mark(9, 1, 41, ["told", "kv.allocate", 16, 1, None, 0], 0)
    writer.range(9, 1, 50, 60, "scheduler.preempt b", 0)
    batches = ranges.timeline(nsysfile.read(writer.close())).batches
    assert batches[["step", "request"]].astype(object).to_numpy().tolist() == [[0, "a"]]


def test_the_traces_that_a_front_end_noted(tmp_path: Path) -> None:
    header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    writer = NsysWriter(tmp_path / "r.sqlite").range(9, 1, 10, 20, "llm.add_request a")
    writer.mark(9, 1, 15, ["list", TRACED, 0, "a", header, 0], -1)
    traced = ranges.timeline(nsysfile.read(writer.close())).traced
    columns = ["pid", "external", "traceparent", "is_own", "at_ns"]
    assert traced[columns].to_numpy().tolist() == [[9, "a", header, 0, 15]]


def test_a_range_that_never_ended_is_counted(tmp_path: Path) -> None:
    writer = NsysWriter(tmp_path / "r.sqlite").range(9, 1, 10, 20, "kv.lookup a").range(9, 1, 30, None, "kv.lookup b")
    read = ranges.timeline(nsysfile.read(writer.close()))
    assert (len(read.spans), read.torn) == (1, 1)
