"""How requests begin and end: their states, their tokens, and what is missing of one that was cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tracing.stories import KEY, batch
from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.breakdown.requests import budget
from tracing.events.layout import CALLED, ENDED, YIELDED
from tracing.timeline import requests
from tracing.timeline.index import Index


def test_a_batch_begins_with_generate_and_ends_with_its_last_message(tmp_path: Path) -> None:
    batch(tmp_path)
    index = Index(timeline.read(tmp_path))
    first, second = requests.flows(index)
    assert (first.request, first.state, first.start_ns, first.end_ns) == ("0-x", "finished", 100, 4100)
    assert (second.prompt_tokens, second.output_tokens, second.steps.tolist()) == (3, 1, [0])
    assert budget.budget(index, second)["wait: turn in generate"] == 200
    assert budget.budget(index, second)["tokenize"] == 20


def test_a_request_that_is_never_heard_of_again_is_cut(tmp_path: Path) -> None:
    batch(tmp_path, finished=("0",), cut=("1",))
    whole, cut = requests.flows(Index(timeline.read(tmp_path)))
    assert whole.missing == () and cut.state == "cut" and "scheduler.free" in cut.missing


def test_a_refused_call_is_whole(tmp_path: Path) -> None:
    front = TraceWriter(tmp_path, 10, ["front end"])
    front.span("async.generate", 100, 100, "r", value=CALLED)
    front.span("async.generate", 110, 190, "r", value=ENDED, raised=True).close()
    [flow] = requests.flows(Index(timeline.read(tmp_path)))
    assert (flow.request, flow.state, flow.start_ns, flow.end_ns, flow.missing) == ("r", "refused", 100, 190, ())


def test_the_same_external_id_twice(tmp_path: Path) -> None:
    front = TraceWriter(tmp_path, 10, ["front end"])
    for number, at in enumerate((1000, 5000)):
        front.span("async.generate", at, at, "same", value=CALLED).span("async.generate", at + 10, at + 50, "same")
        front.span("input.assign_id", at + 20, at + 30, f"same-{number}").renamed(f"same-{number}", "same")
        front.span("async.generate", at + 900, at + 950, "same", value=YIELDED, extra=1)
    front.close()
    first, second = requests.flows(Index(timeline.read(tmp_path)))
    assert (first.request, first.start_ns, first.end_ns) == ("same-0", 1000, 1950)
    assert (second.request, second.start_ns, second.end_ns) == ("same-1", 5000, 5950)


def test_calls_in_flight_with_one_id_are_kept_apart(tmp_path: Path) -> None:
    front = TraceWriter(tmp_path, 10, ["front end"])
    for call, at in ((1, 1000), (2, 1100)):
        extra = call << 1
        front.span("async.generate", at, at, "same", value=CALLED, extra=extra)
        front.span("async.generate", at + 10, at + 50, "same", extra=extra)
        front.span("input.assign_id", at + 20, at + 30, f"same-{call}").renamed(f"same-{call}", "same")
    front.span("async.generate", 1900, 1950, "same", value=YIELDED, extra=2 << 1 | 1)
    front.span("async.generate", 2900, 2950, "same", value=YIELDED, extra=1 << 1 | 1)
    front.close()
    first, second = requests.flows(Index(timeline.read(tmp_path)))
    assert (first.request, first.start_ns, first.end_ns) == ("same-1", 1000, 2950)
    assert (second.request, second.start_ns, second.end_ns) == ("same-2", 1100, 1950)


def streamed_tokens(
    folder: Path,
    yields: int,
    status: str = "",
    stop: int | None = None,
    tokens: int = 5,
    chunks: int = 0,
    step_of_abort: int | None = None,
) -> None:
    """A stream of steps with a token each, after `chunks` that computed a part of the prompt only.

    Its caller took so many outputs. It is freed in the last step's update, or while `step_of_abort` runs.
    """
    front = TraceWriter(folder, 10, ["front end"]).span("async.generate", 100, 100, "s", value=CALLED, extra=2)
    front.span("async.generate", 110, 190, "s", extra=2).span("input.assign_id", 120, 130, "s-1").renamed("s-1", "s")
    core = TraceWriter(folder, 11, ["core"], parent=10)
    core.span("core.receive", 200, 210, "s-1", thread=2).span("core.add_request", 220, 230, "s-1", value=3)
    for step in range(chunks + tokens):
        at, output = 1000 * (step + 1), step - chunks
        core.span("scheduler.schedule", at, at + 10, step=step).batch(step, {"s-1": 1 if step else 3 - chunks})
        core.counts(step, {}).span("scheduler.update", at + 20, at + 30, step=step)
        if output < 0:
            continue
        core.message(step, KEY + output)
        front.span("output.process", at + 40, at + 50, step=KEY + output)
        if output < yields:
            last = output == yields - 1 and (stop is not None or yields == tokens)
            front.span("async.generate", at + 60, at + 70, "s", value=YIELDED, extra=2 + last)
    if step_of_abort is not None:
        step, at = step_of_abort, at + 990
        core.span("scheduler.schedule", at, at + 10, step=step).batch(step, {"s-1": 1}).counts(step, {})
        core.span("scheduler.update", at + 40, at + 50, step=step)
    if status:
        core.span("scheduler.free", at + 25, at + 28, "s-1", step=step, value=tokens, extra=status)
    if stop is not None:
        front.stopped("s-1", KEY + stop)
    front.close()
    core.close()


@pytest.mark.parametrize("status", ["FINISHED_ABORTED", "FINISHED_LENGTH_CAPPED"])
def test_a_stop_string_ends_a_request_at_its_last_yield(tmp_path: Path, status: str) -> None:
    streamed_tokens(tmp_path, yields=1, status=status, stop=0)
    [flow] = requests.flows(Index(timeline.read(tmp_path)))
    assert (flow.state, flow.end_ns, flow.output_tokens, flow.delivered_tokens) == ("stopped", 1070, 5, 1)


def test_the_output_with_the_stop_string_is_delivered(tmp_path: Path) -> None:
    """The abort comes while the fourth step runs: the core never counts that step's token."""
    streamed_tokens(tmp_path, yields=3, stop=2, tokens=3, status="FINISHED_ABORTED", step_of_abort=3)
    [flow] = requests.flows(Index(timeline.read(tmp_path)))
    assert (flow.state, flow.output_tokens, flow.delivered_tokens) == ("stopped", 3, 3)


def test_a_step_that_computed_a_part_of_the_prompt_takes_no_token_off(tmp_path: Path) -> None:
    streamed_tokens(tmp_path, yields=5, status="FINISHED_LENGTH_CAPPED", chunks=2)
    [flow] = requests.flows(Index(timeline.read(tmp_path)))
    assert (flow.output_tokens, flow.delivered_tokens) == (5, 5)


def test_a_caller_that_left_got_what_it_took(tmp_path: Path) -> None:
    streamed_tokens(tmp_path, yields=2, status="FINISHED_ABORTED")
    [flow] = requests.flows(Index(timeline.read(tmp_path)))
    assert (flow.state, flow.output_tokens, flow.delivered_tokens) == ("aborted", 5, 2)


def test_all_that_was_generated_reached_a_caller_that_stayed(tmp_path: Path) -> None:
    streamed_tokens(tmp_path, yields=5, status="FINISHED_LENGTH_CAPPED")
    [flow] = requests.flows(Index(timeline.read(tmp_path)))
    assert (flow.state, flow.output_tokens, flow.delivered_tokens) == ("finished", 5, 5)


def test_a_cut_stream_has_the_tokens_that_were_yielded(tmp_path: Path) -> None:
    streamed_tokens(tmp_path, yields=3)
    [flow] = requests.flows(Index(timeline.read(tmp_path)))
    assert (flow.state, flow.delivered_tokens) == ("cut", 3)


@pytest.mark.parametrize("status, state", [("FINISHED_ABORTED", "aborted"), ("FINISHED_STOPPED", "stopped")])
def test_children_stand_under_their_parent(tmp_path: Path, status: str, state: str) -> None:
    front = TraceWriter(tmp_path, 10, ["front end"]).span("async.generate", 100, 100, "n", value=CALLED)
    front.span("async.generate", 110, 200, "n").span("input.assign_id", 120, 130, "n-p").renamed("n-p", "n")
    core = TraceWriter(tmp_path, 11, ["core"], parent=10)
    core.span("scheduler.schedule", 500, 510, step=0).batch(0, {"0_n-p": 1, "1_n-p": 1}).counts(0, {})
    core.span("scheduler.update", 600, 650, step=0).message(0, KEY)
    for child in ("0_n-p", "1_n-p"):
        front.child(child, "n-p")
        core.span("core.receive", 300, 310, child, thread=2).span("core.add_request", 320, 330, child, value=2)
        core.span("scheduler.free", 640, 645, child, step=0, value=1, extra=status)
    front.span("async.generate", 900, 950, "n", value=YIELDED, extra=1).close()
    core.close()
    children = requests.flows(Index(timeline.read(tmp_path)))
    assert [(flow.request, flow.parent, flow.state) for flow in children] == [
        ("0_n-p", "n-p", state),
        ("1_n-p", "n-p", state),
    ]
    assert {flow.start_ns for flow in children} == {100}
