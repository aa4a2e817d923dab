"""The waits of requests in the scheduler's queue by what kept them there: many requests at once.

From the scheduler's first call with a request in the queue on, what kept it is what kept all that the scheduler did not
come to; or, where it looked at the request itself and it was not ready, that. Before that call nothing was decided.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tracing.events.step import BLOCKED
from tracing.timeline.index import Index
from tracing.timeline.intervals import overlapping
from tracing.timeline.lookups.rows import Rows
from tracing.timeline.requests import Flow
from tracing.timeline.steps.heldback import ReasonTimes

NEVER = np.iinfo(np.int64).max


def given_up(flow: Flow) -> bool:
    """Whether a request was aborted in the queue, before any step had it."""
    return flow.state == "aborted" and not len(flow.steps)


class Stays(NamedTuple):
    """Stays in cores' queues: the number of each one's request, its core, and its time."""

    of: Rows
    core: Rows
    start: Rows
    end: Rows


class Queued(NamedTuple):
    """Waits: the number of each one's request, the reason's code, and its time, from call to call of the scheduler."""

    of: Rows
    reason: Rows
    start: Rows
    end: Rows


def queued(index: Index, stays: Stays, looks: tuple[Rows, Rows]) -> Queued:
    """What kept requests in queues, each from its coming until the call that scheduled it first, or its abortion.

    `looks` are the scheduler's looks at each, by request and row. Reasons of a request's own come after those of all,
    which they stand for.
    """
    parts = [part for core in np.unique(stays.core).tolist() for part in _of_core(index, core, stays, looks)]
    return Queued(*(np.concatenate(column) for column in zip(*parts, strict=True))) if parts else Queued(*stays)


def _of_core(index: Index, core: int, stays: Stays, looks: tuple[Rows, Rows]) -> Iterator[Queued]:
    mine = stays.core == core
    of, start, end = stays.of[mine], stays.start[mine], stays.end[mine]
    steps, rows = index.by_step("scheduler.schedule", core)
    calls = np.append(index.start[rows], NEVER)
    decided = np.minimum(calls[np.searchsorted(calls[:-1], start)], end)
    pieces, reason = index.held_back.get(core, ReasonTimes((calls[:0], calls[:0]), calls[:0]))
    which, piece = overlapping(decided, end, pieces)
    yield _within(which, reason[piece], pieces[0][piece], pieces[1][piece], of, decided, end)
    yield _within(*_own(index, of, steps, calls, looks), of, decided, end)


def _own(index: Index, of: Rows, steps: Rows, calls: Rows, looks: tuple[Rows, Rows]) -> tuple[Rows, Rows, Rows, Rows]:
    """The steps in which the scheduler found a request itself not ready: the place of each one's request in `of`, its
    reason, and its time until the next call. Of what begins with one call the last counts, so steps stay apart."""
    looked_of, row = looks
    kept = np.isin(index.extra[row], list(BLOCKED.values())) & np.isin(looked_of, of)
    looked_of, row = looked_of[kept], row[kept]
    first, last = (np.searchsorted(steps, index.step[row], side) for side in ("left", "right"))
    return np.searchsorted(of, looked_of), index.extra[row], calls[first], calls[last]


def _within(which: Rows, reason: Rows, start: Rows, end: Rows, of: Rows, decided: Rows, until: Rows) -> Queued:
    """Times as far as they lie in their requests' own."""
    return Queued(of[which], reason, np.maximum(start, decided[which]), np.minimum(end, until[which]))
