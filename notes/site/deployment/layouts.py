"""The map of a deployment: the processes that its recorded trace has, each with the parts that run in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from notes.site.processmap import ARROWS, HEIGHT, PARTS, PROCESSES, Arrow, Box, Layout
from tracing.events.processfile import ProcessRecord
from tracing.timeline.spans import Timeline

ROW, GAP = HEIGHT - 20, 10  # of a process and its distance to the next below it
FRONT, CORE, WORKER = PROCESSES
WITH_WORKER = Box("core process, the worker inside", 330, 20, 600, 290)
CALL = "call"
COORDINATOR = (
    Box("coordinator process", 10, 330, 230, 120),
    Box("coordinator", 25, 370, 200, 60, 10, "loads and waves; not recorded"),
)
IN_WORKER = ("model runner", "sampler")


def layout(name: str, timeline: Timeline) -> Layout:
    """The layout of a trace's processes: front ends on the left, then cores, each with its workers beside it."""
    fronts = [each for each in timeline.processes if "front end" in each.serves]
    cores = [each for each in timeline.processes if "core" in each.serves]
    rows = max(len(fronts), len(cores))
    boxes: list[Box] = [box for place in range(len(fronts)) for box in _down(_front(), place)]
    arrows: list[Arrow] = []
    for place, core in enumerate(cores):
        workers = [each for each in timeline.processes if each.parent == core.pid and "worker" in each.serves]
        boxes += _down(tuple(_core(core, workers)), place)
        arrows += [_lowered(arrow, place, place) for arrow in _in_core(workers)]
        arrows += [_between(arrow, front, place) for arrow in _sockets() for front in range(len(fronts))]
    boxes += COORDINATOR if len(cores) > 1 else ()
    processes, parts = (tuple(box for box in boxes if bool(box.chapter) is part) for part in (False, True))
    return Layout(name, processes, parts, tuple(arrows), rows * (ROW + GAP) + 20)


def _front() -> tuple[Box, ...]:
    """The front end's process and its parts."""
    return (FRONT, *(part for part in PARTS if part.x < CORE.x))


def _core(core: ProcessRecord, workers: Sequence[ProcessRecord]) -> Iterator[Box]:
    """A core's process with its parts, and its workers."""
    yield from (part for part in PARTS if CORE.x < part.x < WORKER.x)
    if "worker" in core.serves:
        yield WITH_WORKER
        yield from (part for part in PARTS if part.name in IN_WORKER)
        return
    yield CORE
    for y, height in _rooms(len(workers)):
        yield from _worker(y, height)


def _rooms(workers: int) -> list[tuple[int, int]]:
    """Where the process of each worker begins, and its height: together they are as high as their core's."""
    height = (ROW - 20 - GAP * (workers - 1)) // workers
    return [(20 + place * (height + GAP), height) for place in range(workers)]


def _worker(y: int, height: int) -> Iterator[Box]:
    """A worker's process and its parts."""
    yield replace(WORKER, y=y, height=height)
    for place, part in enumerate(each for each in PARTS if each.name in IN_WORKER):
        room = (height - 40) // 2
        yield replace(part, y=y + 30 + place * (room + 5), height=min(room, 60))


def _in_core(workers: Sequence[ProcessRecord]) -> Iterator[Arrow]:
    """What is handed over inside a core, and between it and its workers."""
    way_in, there, back, way_out = ARROWS[1:5]
    yield way_in
    yield way_out
    if len(workers) < 2:
        yield from (replace(arrow, carrier=arrow.carrier if workers else CALL) for arrow in (there, back))
        return
    (first, height), *_ = rooms = _rooms(len(workers))
    for y, _ in rooms:
        yield replace(there, end=(765, y + 45))
    yield replace(back, start=(765, first + 30 + (height - 40) // 2 + 25))  # one rank answers


def _sockets() -> tuple[Arrow, Arrow]:
    return ARROWS[0], ARROWS[5]


def _between(arrow: Arrow, front: int, core: int) -> Arrow:
    """A socket between a front end and a core, whichever way it goes."""
    from_front = arrow.start[0] < arrow.end[0]
    return _lowered(arrow, front if from_front else core, core if from_front else front)


def _lowered(arrow: Arrow, start: int, end: int) -> Arrow:
    """An arrow with its ends so many rows further down."""
    (x1, y1), (x2, y2) = arrow.start, arrow.end
    return replace(arrow, start=(x1, y1 + start * (ROW + GAP)), end=(x2, y2 + end * (ROW + GAP)))


def _down(boxes: Sequence[Box], rows: int) -> tuple[Box, ...]:
    return tuple(replace(box, y=box.y + rows * (ROW + GAP)) for box in boxes)
