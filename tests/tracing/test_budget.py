"""Every nanosecond of a request once: known stage times come back, and a site that is taken out is missed exactly."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.breakdown.requests import budget, hops, waits
from tracing.events.contention import THREAD
from tracing.events.layout import CALLED, ENDED, SUSPENDED, YIELDED
from tracing.timeline import requests
from tracing.timeline.contention import Contention
from tracing.timeline.index import Index
from tracing.timeline.requests import Flow
from tracing.timeline.spans import Timeline

KEY = 10**12


class Story:
    """A request's life on a clock that only `work` and `idle` move, with what each part took."""

    def __init__(self, folder: Path) -> None:
        self.now, self.parts = 1000, dict[str, int]()
        self.front = TraceWriter(folder, 10, ["front end"], threads={1: "MainThread", 2: "pool"})
        self.core = TraceWriter(folder, 11, ["core"], parent=10, threads={1: "MainThread", 2: "in", 3: "out"})
        self.worker = TraceWriter(folder, 12, ["worker"], parent=11)

    def work(self, writer: TraceWriter, site: str, part: str, ns: int, request: str | None = None, **more: int) -> int:
        """A span of a site; when it began."""
        begun = self.now
        self.now += ns
        writer.span(site, begun, self.now, request, **more)  # type: ignore[arg-type]
        self.parts[part] = self.parts.get(part, 0) + ns
        return begun

    def idle(self, part: str, ns: int) -> None:
        self.now += ns
        self.parts[part] = self.parts.get(part, 0) + ns

    def close(self) -> None:
        for writer in (self.front, self.core, self.worker):
            writer.close()


DURATIONS = st.lists(st.integers(1, 1000), min_size=40, max_size=40)


def stream(folder: Path, ns: list[int], steps: int = 2) -> Story:
    """A request of AsyncLLM: called, tokenized in a pool, sent, scheduled, and yielded once a step."""
    story, take = Story(folder), iter(ns * (1 + steps)).__next__
    front, core, worker = story.front, story.core, story.worker
    front.span("async.generate", story.now, story.now, "a", value=CALLED)
    story.idle("wait: caller", take())
    begun = story.now
    story.idle("yield", take())
    story.work(front, "async.add_request", "accept", take(), "a", value=SUSPENDED)
    front.span("async.generate", begun, story.now, "a", value=SUSPENDED)
    story.idle("wait: thread pool", take())
    story.work(front, "input.process", "tokenize", take(), "a", thread=2)
    story.idle("wait: event loop", take())
    adding = story.now
    front.renamed("a-1", "a")
    story.work(front, "input.assign_id", "accept", take(), "a-1")
    story.work(front, "output.register", "register", take(), "a-1")
    story.work(front, "client.send_async", "send", take(), "a-1")
    front.span("async.add_request", adding, story.now, "a", value=ENDED)
    story.idle("wait: socket in", take())
    story.work(core, "core.receive", "deserialize", take(), "a-1", thread=2, value=99)
    story.work(core, "core.preprocess", "preprocess", take(), "a-1", thread=2)
    story.idle("wait: input queue", take())
    began = story.now
    story.work(core, "core.add_request", "admit", take(), "a-1", value=5)
    core.span("core.dequeue", began, story.now, "a-1")
    story.idle("wait: scheduler queue", take())
    for step in range(steps):
        story.work(core, "scheduler.schedule", "schedule", take(), step=step)
        core.batch(step, {"a-1": 1}).counts(step, {"decode_requests": 1})
        story.idle("unexplained", take())
        story.work(core, "executor.dispatch", "dispatch", take(), step=step)
        waited = story.now
        story.idle("wait: worker", take())
        executing = story.now
        story.work(worker, "runner.prepare", "prepare", take(), step=step)
        story.work(worker, "runner.forward", "forward", take(), step=step)
        story.work(worker, "worker.execute", "execute", take(), step=step)
        worker.span("worker.execute", executing, story.now, step=step)
        story.idle("wait: worker", take())
        core.span("executor.wait", waited, story.now, step=step)
        story.work(core, "scheduler.update", "update", take(), step=step)
        core.message(step, KEY + step)
        if step == steps - 1:
            core.span(
                "scheduler.free", story.now - 1, story.now, "a-1", step=step, value=steps, extra="FINISHED_STOPPED"
            )
            story.parts["update"] -= 1
            story.parts["free"] = 1
        story.idle("wait: output queue", take())
        story.work(core, "core.encode", "serialize", take(), step=KEY + step, thread=3)
        story.idle("wait: socket out", take())
        story.work(front, "client.receive", "deserialize", take(), step=KEY + step)
        story.idle("wait: event loop", take())
        handling = story.now
        story.idle("process outputs", take())
        story.work(front, "output.deliver", "deliver", take(), "a-1", step=KEY + step)
        front.span("output.process", handling, story.now, step=KEY + step)
        story.idle("wait: event loop", take())
        last = step == steps - 1
        story.work(front, "async.generate", "yield", take(), "a", value=YIELDED, extra=int(last))
        if not last:
            story.idle("wait: caller", 1)
            front.span("async.generate", story.now, story.now, "a", value=SUSPENDED)
            story.idle("unexplained", 1)
    story.close()
    return story


def only(folder: Path) -> tuple[Index, Flow]:
    index = Index(timeline.read(folder))
    [flow] = requests.flows(index)
    return index, flow


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
    for piece in budget.pieces(index, flow):
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


# --- how requests end ---


def batch(folder: Path, finished: tuple[str, ...] = ("0", "1"), cut: tuple[str, ...] = ()) -> None:
    """An LLM.generate of some requests in one step; those in `cut` are never heard of again."""
    front = TraceWriter(folder, 10, ["front end"]).span("llm.generate", 100, 9000)
    core = TraceWriter(folder, 11, ["core"], parent=10)
    for place, name in enumerate((*finished, *cut)):
        at = 200 + 100 * place
        front.span("llm.render", at, at + 20).span("llm.add_request", at + 30, at + 80, name)
        front.renamed(f"{name}-x", name).span("input.assign_id", at + 40, at + 45, f"{name}-x")
        front.span("client.send", at + 50, at + 60, f"{name}-x")
        core.span("core.receive", at + 70, at + 75, f"{name}-x", thread=2)
        core.span("core.add_request", at + 90, at + 95, f"{name}-x", value=3)
    core.span("scheduler.schedule", 2000, 2100, step=0).batch(0, {f"{name}-x": 3 for name in (*finished, *cut)})
    core.counts(0, {"prefill_requests": 2}).span("scheduler.update", 3000, 3100, step=0).message(0, KEY)
    for name in finished:
        core.span("scheduler.free", 3050, 3060, f"{name}-x", step=0, value=1, extra="FINISHED_LENGTH_CAPPED")
    front.span("output.process", 4000, 4100, step=KEY)
    front.close()
    core.close()


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


# --- what the processes did meanwhile ---


def in_one_thread(folder: Path) -> None:
    """The worker inside the core, with a batch queue: each step is launched, then the one before it is read.

    Request a is in step 0 alone, b in both.
    """
    front = TraceWriter(folder, 10, ["front end"], threads={1: "MainThread"})
    core = TraceWriter(folder, 11, ["core"], parent=10)
    for name in ("a", "b"):
        front.span("async.generate", 0, 0, name, value=CALLED).span("async.generate", 0, 0, name, value=SUSPENDED)
        front.span("input.assign_id", 0, 0, f"{name}-1").renamed(f"{name}-1", name)
        core.span("core.receive", 0, 0, f"{name}-1", thread=2).span("core.add_request", 0, 0, f"{name}-1", value=1)
    core.batch(0, {"a-1": 1, "b-1": 1}).counts(0, {}).batch(1, {"b-1": 1}).counts(1, {})
    core.span("core.step", 0, 400, step=0)
    core.span("scheduler.schedule", 0, 100, step=0).span("executor.dispatch", 110, 390, step=0)
    core.span("core.step", 400, 1000, step=1)
    core.span("scheduler.schedule", 410, 500, step=1).span("executor.dispatch", 520, 800, step=1)
    core.span("scheduler.update", 850, 900, step=0).message(0, KEY)
    core.span("core.step", 1000, 1100, step=1).span("scheduler.update", 1010, 1090, step=1).message(1, KEY + 1)
    for name, freed, end, step in (("a", 860, 1000, 0), ("b", 1020, 1100, 1)):
        core.span("scheduler.free", freed, freed, f"{name}-1", step=step, value=1, extra="FINISHED_LENGTH_CAPPED")
        front.span("output.process", end, end, step=KEY + step)
        front.span("async.generate", end, end, name, value=YIELDED, extra=1)
    front.close()
    core.close()


def test_a_loops_own_time_and_the_next_steps_launch_are_parts_of_a_request(tmp_path: Path) -> None:
    """Both were unexplained."""
    in_one_thread(tmp_path)
    index = Index(timeline.read(tmp_path))
    a, b = (budget.budget(index, flow) for flow in requests.flows(index))
    assert a == {
        "schedule": 100,
        "dispatch": 280,
        "wait: other work": 90 + 280,  # step 1, of which it is no part, is launched first
        "engine loop": 10 + 10 + 10 + 20 + 50,
        "update": 50,
        budget.UNEXPLAINED: 100,  # after its last update
    }
    assert b["engine loop"] == 10 + 10 + 10 + 20 + 50 + 100 + 10 and "wait: other work" not in b


def test_a_request_waits_for_an_earlier_step_that_is_not_its_own(tmp_path: Path) -> None:
    """With the worker in a process of its own the core goes on: the step stands behind another one."""
    front = TraceWriter(tmp_path, 10, ["front end"]).renamed("a-1", "a")
    front.span("async.generate", 0, 0, "a", value=CALLED).span("async.generate", 0, 0, "a", value=SUSPENDED)
    front.span("input.assign_id", 0, 0, "a-1")
    core = TraceWriter(tmp_path, 11, ["core"], parent=10).span("scheduler.schedule", 0, 10, step=0).counts(0, {})
    core.span("core.receive", 0, 0, "a-1", thread=2).span("core.add_request", 10, 20, "a-1", value=1)
    core.span("scheduler.schedule", 20, 30, step=1).batch(1, {"a-1": 1}).counts(1, {})
    core.span("executor.dispatch", 30, 40, step=1).span("scheduler.update", 90, 100, step=0)
    core.span("scheduler.update", 190, 200, step=1).message(1, KEY)
    core.span("scheduler.free", 195, 195, "a-1", step=1, value=1, extra="FINISHED_LENGTH_CAPPED").close()
    TraceWriter(tmp_path, 12, ["worker"], parent=11).span("worker.execute", 95, 190, step=1).close()
    front.span("output.process", 200, 200, step=KEY).span("async.generate", 200, 200, "a", value=YIELDED, extra=1)
    front.close()
    index, flow = only(tmp_path)
    found = budget.budget(index, flow)
    assert found["wait: earlier step"] == 95 - 40
    assert found[budget.UNEXPLAINED] == 10  # before it was admitted


def test_time_in_the_run_queue_is_no_mystery_and_no_work_of_the_loop(tmp_path: Path) -> None:
    """The core's thread stood in the run queue for half of the time between two samples."""
    in_one_thread(tmp_path)
    index = Index(timeline.read(tmp_path))
    samples = Contention(np.array([0, 2000]), {(THREAD, 11, 1): (np.array([0, 2000]), np.array([0, 1000]))})
    a, _ = (budget.budget(index, flow, samples) for flow in requests.flows(index))
    assert a[budget.RUN_QUEUE] == (100 + 100) // 2
    assert (a["engine loop"], a[budget.UNEXPLAINED]) == (50, 50)
    assert (a["schedule"], a["dispatch"]) == (100, 280)  # measured: what they stood in the queue is in them
