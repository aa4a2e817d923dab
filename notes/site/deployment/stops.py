"""What a stop is in each deployment: which process runs it, on which thread, how often; or that it is not there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from html import escape
from typing import get_args

from notes.site.deployment.drawn import DEPLOYMENTS, ON_CPU, OTHER_SHAPES, name, only, trace
from notes.traces import shapetrace
from notes.traces.shapetrace import ShapeTrace
from notes.translation.labels import Labels
from notes.walkthrough.chapters import Stop
from notes.walkthrough.implementations import runs
from probes.console import us
from tracing.shapes.shape import RUNNER_V2, SHAPES, FrontEnd, Shape

NOT_HERE = "Not in this deployment."
ELSEWHERE = "Not in this deployment. It is with: {others}."
SECOND_RUNNER = "With Model Runner V2, which a GPU takes by itself where it can; the run recorded here had the first."
FIRST_RUNNER = "{place}; with the first model runner only"
SEVERAL = "{process}, one of {count}"
ON_THREAD = "{process}, thread {thread}"
CALLS = "{place}; calls in the recorded request: {calls}"
MEDIAN = "{calls}, on a CPU {median} at the median"  # whatever the devices of the deployment
ASYNC_TOO = ("dp2",)
FRONT_ENDS: tuple[FrontEnd, ...] = get_args(FrontEnd)
# A process by the main roles that it serves.
PROCESS_NAMES = {
    ("front end",): "front end process",
    ("core",): "core process",
    ("worker",): "worker process",
    ("core", "worker"): "core process, the worker inside",
    ("front end", "core", "worker"): "the one process",
}


def at_stop(stop: Stop, say: Labels, with_times: bool = True) -> Iterator[str]:
    """A line a deployment; like ones together. `with_times` is off where another trace's times stand at the stop."""
    if not stop.role:
        return
    shapes: dict[str, list[str]] = {}
    for shape in DEPLOYMENTS:
        shapes.setdefault(_line(stop, shape, say, with_times), []).append(shape)
    yield from (only(where, line, "span") for line, where in shapes.items())


def is_in(stop: Stop, shape: str) -> bool:
    """Whether a shape has a stop: its function can run there, and its site was passed if it was in any like shape."""
    front_end = SHAPES[shape].front_end
    if not any(runs(stop.anchor.target, like) for like in _likes(shape)):
        return False
    alike = {other for other in shapetrace.read_all() if SHAPES[other].front_end == front_end}
    passed = {other for other in alike if stop.site in trace(other).sites}
    return shape in passed or not passed


def _likes(shape: str) -> Iterator[Shape]:
    """What counts as the same deployment: batches, streams and a server can be had in each, and what was recorded
    without async scheduling only since there is no such shape may have it."""
    for front_end in FRONT_ENDS:
        like = replace(SHAPES[shape], front_end=front_end)
        yield like
        if shape in ASYNC_TOO:
            yield replace(like, async_scheduling=True)


def _runs_with_second_runner(stop: Stop, shape: str) -> bool:
    likes = (replace(like, environment=like.environment | RUNNER_V2) for like in _likes(shape))
    return any(runs(stop.anchor.target, like) for like in likes)


def _line(stop: Stop, shape: str, say: Labels, with_times: bool) -> str:
    second = shape != ON_CPU and _runs_with_second_runner(stop, shape)
    if is_in(stop, shape):
        place = _place(stop, trace(shape), say, with_times)
        return escape(place if second or shape == ON_CPU else say(FIRST_RUNNER, place=place))
    if second and not runs(stop.anchor.target, SHAPES[shape]):
        return f'<span class="absent">{escape(say(SECOND_RUNNER))}</span>'
    others = ", ".join(name(other, say) for other in (*DEPLOYMENTS, *OTHER_SHAPES) if is_in(stop, other))
    return f'<span class="absent">{escape(say(ELSEWHERE, others=others) if others else say(NOT_HERE))}</span>'


def _place(stop: Stop, here: ShapeTrace, say: Labels, with_times: bool) -> str:
    """Process, thread, and what was recorded of the stop's site."""
    words = _process(stop.role, here, say)
    threads = {place.thread for place in here.passed if (place.site, place.role) == (stop.site, stop.role)}
    if threads:
        words = say(ON_THREAD, process=words, thread=min(threads))
    spans = here.timeline.spans
    spans = spans[(spans["site"] == stop.site) & (spans["role"] == stop.role)]
    if not len(spans) or not with_times:
        return words
    words = say(CALLS, place=words, calls=len(spans))
    return say(MEDIAN, calls=words, median=us(int((spans["end_ns"] - spans["start_ns"]).median())))


def _process(role: str, here: ShapeTrace, say: Labels) -> str:
    """The process that runs a role: an input or output thread's is the core's."""
    main = "core" if role.startswith("core") else role
    serving = [process.serves for process in here.timeline.processes if main in process.serves]
    if not serving:
        return say(role)
    kind = tuple(each for each in ("front end", "core", "worker") if each in serving[0])
    words = say(PROCESS_NAMES[kind])
    return say(SEVERAL, process=words, count=len(serving)) if len(serving) > 1 else words
