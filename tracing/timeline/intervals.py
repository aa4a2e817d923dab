"""Arithmetic of intervals in integer nanoseconds, each from its start up to but not including its end: numpy only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Ints = npt.NDArray[np.int64]
Pieces = tuple[Ints, Ints]  # starts and ends of disjoint intervals, ascending
TIME_BITS = 59  # of the nanoseconds from the first of some intervals to the last: 18 years


def edges(spans: pd.DataFrame) -> tuple[Ints, Ints]:
    """The starts and ends of a frame's spans."""
    return spans["start_ns"].to_numpy(dtype=np.int64), spans["end_ns"].to_numpy(dtype=np.int64)


def by_start(start: Ints, end: Ints) -> Ints:
    """The places of some intervals by start, of those with one start the longest first, else as they were."""
    return ordered(start, -end)


def ordered(first: Ints, *others: Ints) -> Ints:
    """Places by several numbers, of which an earlier one counts before a later one; else as they were.

    Where few are alike in the first, as spans in their start, to sort those alone costs half of sorting all by all.
    """
    order = np.argsort(first, kind="stable")
    same = np.diff(first[order]) == 0
    tied = np.flatnonzero(np.append(same, False)[: len(order)] | np.append(False, same)[: len(order)])
    mine = order[tied]
    order[tied] = mine[np.lexsort([key[mine] for key in (*others[::-1], first)])]
    return order


def union(start: Ints, end: Ints) -> Pieces:
    """The time that any of some intervals covers; intervals that touch are one piece."""
    order = np.argsort(start, kind="stable")
    start, reach = start[order], np.maximum.accumulate(end[order])
    apart = start[1:] > reach[:-1]
    return start[np.append(True, apart)[: len(start)]], reach[np.append(apart, True)[: len(start)]]


def apart(start: Ints, end: Ints) -> npt.NDArray[np.bool_]:
    """Which of some intervals overlap no other."""
    order = np.argsort(start, kind="stable")
    begun, reach = start[order], np.maximum.accumulate(end[order])
    after = np.append(True, begun[1:] >= reach[:-1])[: len(order)]  # what began before it has ended
    result = np.empty(len(order), dtype=bool)
    result[order] = after & np.append(after[1:], True)[: len(order)]
    return result


def length(pieces: Pieces) -> int:
    """The length of all pieces together."""
    return int((pieces[1] - pieces[0]).sum())


def covered(pieces: Pieces, times: Ints) -> Ints:
    """How much of the pieces lies before each of `times`."""
    start, end = pieces
    if not len(start):
        return np.zeros(len(times), dtype=np.int64)
    before = np.concatenate(([0], np.cumsum(end - start)))
    place = np.searchsorted(start, times, side="right")
    beyond = np.where(place > 0, np.maximum(end[np.maximum(place - 1, 0)] - times, 0), 0)
    return np.asarray(before[place] - beyond, dtype=np.int64)


def overlap(pieces: Pieces, start: Ints, end: Ints) -> Ints:
    """How much of the pieces lies in each of the windows from `start` to `end`."""
    return covered(pieces, end) - covered(pieces, start)


def contains(pieces: Pieces, times: npt.NDArray[np.int64 | np.float64]) -> npt.NDArray[np.bool_]:
    """Which of some times lie in a piece."""
    start, end = pieces
    if not len(start):
        return np.zeros(len(times), dtype=bool)
    place = np.searchsorted(start, times, side="right") - 1
    return np.asarray((place >= 0) & (times < end[np.maximum(place, 0)]))


def gaps(pieces: Pieces, others: Pieces) -> Pieces:
    """What of `pieces` no piece of `others` covers."""
    cuts = distinct(np.concatenate((*pieces, *others)))
    free = contains(pieces, cuts[:-1]) & ~contains(others, cuts[:-1])
    return union(cuts[:-1][free], cuts[1:][free])


def distinct(values: Ints) -> Ints:
    """The distinct ones of some numbers, ascending; for long arrays faster than `np.unique`, which hashes."""
    ordered = np.sort(values)
    return ordered[np.diff(ordered, prepend=ordered[:1] - 1) != 0]


def expanded(first: Ints, last: Ints) -> tuple[Ints, Ints]:
    """Every place of some ranges of places, each up to but not including its last: the number of its range, and it."""
    count = np.maximum(last - first, 0)
    if (count == 1).all():
        return np.arange(len(first)), first
    which = np.repeat(np.arange(len(first)), count)
    return which, np.arange(len(which)) + np.repeat(first - np.cumsum(count) + count, count)


def overlapping(start: Ints, end: Ints, pieces: Pieces) -> tuple[Ints, Ints]:
    """Which of some intervals overlaps which of some pieces: the places of both, by interval."""
    return expanded(np.searchsorted(pieces[1], start, side="right"), np.searchsorted(pieces[0], end, side="left"))


def clipped(start: Ints, end: Ints, windows: Pieces) -> tuple[Ints, Ints, Ints]:
    """Some intervals as far as they lie in some windows: the place of each piece's interval, its start and its end."""
    which, window = overlapping(start, end, windows)
    return which, np.maximum(start[which], windows[0][window]), np.minimum(end[which], windows[1][window])


def precedence(start: Ints, end: Ints, rank: Ints) -> Ints:
    """The places of some intervals by precedence, the highest last: that of the highest rank, of those what began last,
    which of nested intervals is the innermost."""
    return ordered(ranked(rank, start), -end)


def ranked(rank: Ints, start: Ints) -> Ints:
    """Numbers in the order of some ranks from 0 to 15, and of one rank in that of the starts."""
    return (rank.astype(np.int64) << TIME_BITS) + (start - start.min(initial=0))


def topmost(start: Ints, end: Ints, order: Ints) -> tuple[Ints, Ints]:
    """Cut time at every start and end, and name the interval of highest precedence in each piece.

    `order` has the places of the intervals by precedence, the highest last. Returns the ascending `bounds` of the
    pieces and, for piece `bounds[i]:bounds[i + 1]`, the index of its interval, or -1 where none covers it. Intervals
    without length cover nothing.

    The cost is n log n: each interval is laid down as two blocks whose length is a power of two, and what lies on top
    of a block is handed on to its halves, level by level.
    """
    order = order[end[order] > start[order]]
    bounds = distinct(np.concatenate((start[order], end[order])))
    pieces = max(len(bounds) - 1, 0)
    # In the order in which they were given, which is mostly that of time: the look-ups are near each other then.
    first = np.searchsorted(bounds, start)[order]
    last = np.searchsorted(bounds, end)[order]
    level = np.frexp((last - first).astype(np.float64))[1] - 1
    top = np.full(pieces, -1, dtype=np.int32)
    for height in range(int(level.max(initial=-1)), -1, -1):
        here = np.flatnonzero(level == height)
        _lay(top, first[here], here)
        _lay(top, last[here] - (1 << height), here)
        if height:
            half = 1 << (height - 1)
            whole = top.copy()
            np.maximum(top[half:], whole[:-half], out=top[half:])
    return bounds, np.where(top >= 0, order[top], -1) if len(order) else top.astype(np.int64)


def _lay(top: npt.NDArray[np.int32], at: Ints, rank: Ints) -> None:
    """Lay blocks of one length on top; of several at one place the last one counts, and ranks ascend."""
    top[at] = np.maximum(top[at], rank)
