"""A request's life, and a batch's, in trace folders whose every nanosecond is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hypothesis import strategies as st

from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.events.layout import CALLED, ENDED, SUSPENDED, YIELDED
from tracing.timeline import requests
from tracing.timeline.index import Index
from tracing.timeline.requests import Flow

KEY = 10**12
NS = [1000 * (place + 1) for place in range(40)]  # of the parts of a story, where any will do
DURATIONS = st.lists(st.integers(1, 1000), min_size=40, max_size=40)


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


def stream(folder: Path, ns: list[int], steps: int = 2, ends: bool = True) -> Story:
    """A request of AsyncLLM: called, tokenized in a pool, sent, scheduled, and yielded once a step."""
    story, take = Story(folder), iter(ns * (1 + steps)).__next__
    _ask(story, take)
    for step in range(steps):
        _step(story, take, step, is_last=ends and step == steps - 1)
    story.close()
    return story


def _ask(story: Story, take: Callable[[], int]) -> None:
    """From the call to the scheduler's queue."""
    front, core = story.front, story.core
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


def _step(story: Story, take: Callable[[], int], step: int, is_last: bool) -> None:
    """From the scheduler's queue to what the caller gets of a step."""
    front, core, worker = story.front, story.core, story.worker
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
    if is_last:
        core.span(
            "scheduler.free", story.now - 1, story.now, "a-1", step=step, value=step + 1, extra="FINISHED_STOPPED"
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
    story.work(front, "async.generate", "yield", take(), "a", value=YIELDED, extra=int(is_last))
    if not is_last:
        story.idle("wait: caller", 1)
        front.span("async.generate", story.now, story.now, "a", value=SUSPENDED)
        story.idle("unexplained", 1)


def only(folder: Path) -> tuple[Index, Flow]:
    index = Index(timeline.read(folder))
    [flow] = requests.flows(index)
    return index, flow


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
