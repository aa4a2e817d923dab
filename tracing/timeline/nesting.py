"""Intervals of one thread, which nest: those open at a time, inside no other, without their waits, and what of a loop
is its own."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from tracing.timeline.intervals import Ints, edges, expanded, topmost, union

Item = TypeVar("Item")


class Nesting(Generic[Item]):
    """The intervals of one thread that are open, the outermost first, each as its end and an item of the caller's."""

    def __init__(self) -> None:
        self.open: list[tuple[int, Item]] = []

    def begin(self, start: int, end: int, item: Item) -> list[tuple[int, Item]]:
        """Open an interval, cut to the one around it; returns those that were over by its start, innermost first.

        Intervals begin in the order of their starts, of those with one start the longest first.
        """
        over = self.close(start)
        self.open.append((min(end, self.open[-1][0]) if self.open else end, item))
        return over

    def close(self, until: int | None = None) -> list[tuple[int, Item]]:
        """Close those that end by a time, or all; innermost first."""
        over = []
        while self.open and (until is None or self.open[-1][0] <= until):
            over.append(self.open.pop())
        return over


def outermost(rows: pd.DataFrame) -> pd.DataFrame:
    """Of spans that nest within their process, sorted by start, those inside no other."""
    reach = rows.groupby("pid")["end_ns"].cummax().groupby(rows["pid"]).shift(fill_value=0)
    return rows[rows["end_ns"] > reach]


class Cut(NamedTuple):
    """Spans in pieces: the place of each piece's span, ascending, and when the piece begins and ends."""

    place: Ints
    start: Ints
    end: Ints


def cut_at_waits(rows: pd.DataFrame) -> Cut:
    """Spans without the waits inside them: work is left out of what its thread waited for meanwhile."""
    start, end = edges(rows)
    wait = (rows["share"] == "wait").to_numpy()
    thread = _threads(rows)
    cuts = [Cut(*np.zeros((3, 0), dtype=np.int64))]  # the pieces of each span but the first one, which ends at `last`
    last = end.copy()
    for each in np.unique(thread[wait]):
        begun, over = union(start[wait & (thread == each)], end[wait & (thread == each)])
        work = np.flatnonzero(~wait & (thread == each))
        first = np.searchsorted(begun, start[work], side="left")
        of, wait_inside = expanded(first, np.searchsorted(over, end[work], side="right"))
        following = np.append(begun[1:], 0)[wait_inside]
        final = np.diff(of, append=-1) != 0  # the last wait inside each: work goes on until its own end
        following[final] = end[work[of[final]]]
        cuts.append(Cut(work[of], over[wait_inside], following))
        last[work[of[final]]] = begun[first[of[final]]]
    further = Cut(*(np.concatenate(columns) for columns in zip(*cuts, strict=True)))
    order = np.argsort(further.place, kind="stable")
    after = further.place[order] + 1
    firsts = np.arange(len(rows)), start, last
    return Cut(*(np.insert(first, after, column[order]) for first, column in zip(firsts, further, strict=True)))


def _threads(rows: pd.DataFrame) -> Ints:
    """A number for the thread of each span, distinct over all processes."""
    return rows["pid"].to_numpy(dtype=np.int64) << 32 | rows["thread"].to_numpy(dtype=np.int64)


def own_of_loops(rows: pd.DataFrame) -> Cut:
    """When each loop did what none of the spans inside it covers, but for frames; by start.

    Rows come by start, then the longest first, so that of those that cover an instant the last is the innermost.
    """
    start, end = edges(rows)
    loop, frame = ((rows["share"] == share).to_numpy() for share in ("loop", "frame"))
    thread = _threads(rows)
    cuts = [Cut(*np.zeros((3, 0), dtype=np.int64))]
    for each in np.unique(thread[loop]):
        place = np.flatnonzero((thread == each) & ~frame)
        bounds, top = topmost(start[place], end[place], np.arange(len(place)))
        own = (top >= 0) & loop[place[top]]
        cuts.append(Cut(place[top[own]], bounds[:-1][own], bounds[1:][own]))
    joined = Cut(*(np.concatenate(columns) for columns in zip(*cuts, strict=True)))
    order = np.argsort(joined.start, kind="stable")
    return Cut(*(column[order] for column in joined))
