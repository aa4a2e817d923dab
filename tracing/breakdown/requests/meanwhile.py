"""What the processes did while a request had a step in flight, beside its own spans: of all that explains a request's
time the least telling, for what nothing else explains.

A loop's own time is what its Python takes between the calls that have spans. With a batch queue a request also waits
for an earlier step, of which it is no part, and for the core's other work: launching the next step comes before reading
the result of the last one, and new requests are let in between.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tracing.breakdown.requests.piece import EARLIER, LOOP, OTHER, Piece
from tracing.timeline.index import Index
from tracing.timeline.intervals import Pieces, clipped, union
from tracing.timeline.nesting import Cut
from tracing.timeline.requests import Flow


def meanwhile(index: Index, flow: Flow) -> Iterator[Piece]:
    """The own time of loops, earlier steps and the core's other work, as far as they fall into a request's time."""
    whole = np.array([flow.start_ns]), np.array([flow.end_ns])
    yield from _cut(index, index.cuts.loops(flow.front_pid, "front end"), whole, LOOP)
    flight = in_flight(index, flow)
    yield from _cut(index, index.cuts.loops(flow.core_pid, "core"), (flight[0][:1], flight[1][-1:]), LOOP)
    yield from _earlier(index, flow)
    own_steps = set(flow.steps.tolist())
    for piece in _cut(index, index.cuts.core_work(flow.core_pid), flight, OTHER, "wait: other work"):
        if int(index.step[piece.rows[0]]) not in own_steps:
            yield piece


def in_flight(index: Index, flow: Flow) -> Pieces:
    """When a step of a request was in flight: from its scheduling to the end of its update."""
    started, ended = (
        {int(index.step[row]): row for row in index.with_step(site, flow.core_pid, flow.steps).tolist()}
        for site in ("scheduler.schedule", "scheduler.update")
    )
    steps = [step for step in started if step in ended]
    start = np.array([index.start[started[step]] for step in steps], dtype=np.int64)
    return union(start, np.array([index.end[ended[step]] for step in steps], dtype=np.int64))


def _cut(index: Index, pieces: Cut, windows: Pieces, rank: int, part: str | None = None) -> Iterator[Piece]:
    """Some spans' pieces as far as they lie in some windows; without the name of a part it is each one's stage."""
    which, start, end = clipped(pieces.start, pieces.end, windows)
    columns = (column.tolist() for column in (pieces.place[which], pieces.start[which], pieces.end[which], start, end))
    for row, begun, ended, first, last in zip(*columns, strict=True):
        yield Piece(part or index.stage[row], first, last, rank, (row,), (begun, ended))


def _earlier(index: Index, flow: Flow) -> Iterator[Piece]:
    """Before each step of a request: until those before it are through, where the last of them is none of its own."""
    ends = index.update_ends(flow.core_pid)
    for row in index.with_step("scheduler.schedule", flow.core_pid, flow.steps).tolist():
        step = int(index.step[row])
        if step - 1 in ends and step - 1 not in flow.steps:
            update, end = ends[step - 1]
            if end > index.start[row]:
                begun = int(index.start[row])
                yield Piece("wait: earlier step", begun, end, EARLIER, (row, update), (begun, end))
