"""Lists of intervals that can explain time, of many requests or steps at once, as arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tracing.breakdown.requests.piece import ranks
from tracing.sites.site import ENCLOSING
from tracing.timeline.index import Index
from tracing.timeline.intervals import ordered, ranked
from tracing.timeline.lookups.rows import Rows

# Of what is alike the last counts: spans by row, then waits, then those of messages, then loops.
WAITS, MESSAGES, LOOPS = (number << 40 for number in range(1, 4))
LOOP_PARTS = 1 << 20  # added to the number of a stage where it is a loop's own time


class Names:
    """Numbers for the parts of a budget: the stages of a trace as in its index, then those that are no span's."""

    def __init__(self, stages: list[str]) -> None:
        self.listed = list(stages)

    def number(self, name: str) -> int:
        if name not in self.listed:
            self.listed.append(name)
        return self.listed.index(name)


class Intervals(NamedTuple):
    """Intervals, each of something with a number (a step, a request), of a part, and of a rank as in `piece`.

    Of several with one rank that one counts that began last, of those the shortest, of those the last by `order`. When
    it began and ended is `begun` and `ended` where only a piece of it, from `start` to `end`, is meant.
    """

    of: Rows
    part: Rows
    rank: Rows
    start: Rows
    end: Rows
    begun: Rows
    ended: Rows
    order: Rows

    def at(self, places: Rows) -> Intervals:
        """Some of them."""
        return Intervals(*(column[places] for column in self))

    def within(self, start: Rows, end: Rows) -> Intervals:
        """As far as each lies between two times of its own, where it does."""
        cut = self._replace(start=np.maximum(self.start, start), end=np.minimum(self.end, end))
        long = cut.end > cut.start
        return cut if long.all() else cut.at(np.flatnonzero(long))

    def clipped(self, places: Rows, of: Rows, start: Rows, end: Rows) -> Intervals:
        """Some of them, each of something else, as far as it lies between two times of its own, where it does."""
        start, end = np.maximum(self.start[places], start), np.minimum(self.end[places], end)
        long = np.flatnonzero(end > start)
        return self.at(places[long])._replace(of=of[long], start=start[long], end=end[long])

    def precedence(self, shift: Rows) -> Rows:
        """Their places, what counts most last, where all of one thing lie on an axis; `shift` is where."""
        on_axis = shift[self.of]  # so that few began at once, though several may have pieces of one span
        return ordered(ranked(self.rank, self.begun + on_axis), -self.ended - on_axis, self.order)

    def counts_before(self, others: Intervals) -> npt.NDArray[np.bool_]:
        """Whether each counts before the other in its place."""
        before = self.order > others.order
        for mine, theirs in ((-self.ended, -others.ended), (self.begun, others.begun), (self.rank, others.rank)):
            before = (mine > theirs) | ((mine == theirs) & before)
        return before


def intervals(of: Rows, part: Rows | int, rank: Rows | int, start: Rows, end: Rows, order: Rows | int) -> Intervals:
    """Those of positive length; what all have in common is given once."""
    long = end > start
    kept = slice(None) if long.all() else np.flatnonzero(long)
    of, part, rank, order = (np.broadcast_to(column, len(start))[kept] for column in (of, part, rank, order))
    start, end = start[kept], end[kept]
    return Intervals(of, part.astype(np.int32), rank.astype(np.int8), start, end, start, end, order)


def joined(lists: list[Intervals]) -> Intervals:
    """Several lists as one."""
    return Intervals(*(np.concatenate(columns) for columns in zip(*lists, strict=True)))


def by_number(lists: list[Intervals]) -> Intervals:
    """Several lists as one, by the number of what each interval is of, else as they stand."""
    order = np.argsort(np.concatenate([each.of for each in lists]), kind="stable")
    return Intervals(*(np.concatenate(columns)[order] for columns in zip(*lists, strict=True)))


def explains(index: Index, rows: Rows) -> npt.NDArray[np.bool_]:
    """Which of some spans can explain a request's time.

    Those that enclose others cannot; nor can it that a worker waits for the core, which says nothing of the core.
    """
    idle = index.has("stage", rows, "wait: core") & index.has("role", rows, "worker")
    return ~index.has("share", rows, *ENCLOSING) & ~idle


def of_rows(index: Index, of: Rows, rows: Rows) -> Intervals:
    """The spans at some rows, without the waits inside them."""
    which, place = index.cuts.places(rows)
    row, start, end = (column[place] for column in index.cuts.all)
    return intervals(of[which], index.stage_number[row], ranks(index, row), start, end, row)
