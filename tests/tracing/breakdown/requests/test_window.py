"""What a window of a trace says: the requests that began in it by stage, and its steps by phase."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tracing.stories import NS, batch, stream
from tests.tracing.traces import TraceWriter
from tracing.breakdown.requests.window import window_times
from tracing.breakdown.requests.windowtimes import StepTimes, WindowTimes


def test_a_request_in_the_window_has_all_of_its_time_by_stage(tmp_path: Path) -> None:
    story = stream(tmp_path, NS)
    times = window_times(tmp_path, 0, story.now + 1)
    assert (times.requests, times.cut) == (1, 0)
    assert times.budget() == {stage: ns for stage, ns in story.parts.items() if ns}


def test_what_began_outside_of_the_window_is_left_out(tmp_path: Path) -> None:
    batch(tmp_path)
    whole, later = window_times(tmp_path, 0, 10_000), window_times(tmp_path, 9_500, 10_000)
    assert (whole.requests, len(whole.steps)) == (2, 1)
    assert later == WindowTimes(requests=0, cut=0, stages_ns={}, steps=(), spans=0) and later.budget() == {}


def test_a_request_that_was_not_heard_of_again_is_cut(tmp_path: Path) -> None:
    batch(tmp_path, finished=("0",), cut=("1",))
    times = window_times(tmp_path, 0, 10_000)
    assert (times.requests, times.cut) == (1, 1)


def test_the_phases_of_a_kind_of_step_add_up_to_its_length(tmp_path: Path) -> None:
    core = TraceWriter(tmp_path, 11, ["core"], threads={1: "MainThread"})
    for step, at in enumerate((1000, 2000)):
        core.span("scheduler.schedule", at, at + 100 * (step + 1), step=step).batch(step, {"a": 1})
        core.counts(step, {"decode_requests": 1}).span("scheduler.update", at + 400, at + 450, step=step)
    core.close()
    times = window_times(tmp_path, 0, 10_000)
    assert times.steps == (StepTimes("decode", 2, {"schedule": 300, "update": 100, "unexplained": 500}),)
    assert times.step_budget("decode") == pytest.approx({"schedule": 150, "update": 50, "unexplained": 250})
    assert times.step_budget("prefill") == {}
