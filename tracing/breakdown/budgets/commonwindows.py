"""Which steps a request sees when: windows of time that requests have in common.

A request whose steps follow each other sees what all steps together show, from where no earlier step shows any more to
where the first later one begins. Before and after it sees its own steps alone, as do all requests that begin, or end,
with the same step. A request with gaps between its steps has a window of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tracing.breakdown.budgets.channel import EVER, Channel
from tracing.timeline.lookups.rows import Rows
from tracing.timeline.requests import Flow


class CommonWindows(NamedTuple):
    """Windows of time (`start`, `end`) of a channel.

    In each show the steps of its runs (`run_of` is the window of each run, from step `first` to `last`), and the
    core's loops between `begun` and `over`.
    """

    start: Rows
    end: Rows
    begun: Rows
    over: Rows
    run_of: Rows
    first: Rows
    last: Rows


class Ranges(NamedTuple):
    """From when to when a request sees a window; requests by number, each one's ranges disjoint and in order."""

    of: Rows
    window: Rows
    start: Rows
    end: Rows


class Runs(NamedTuple):
    """Steps that follow each other, from the `first` to the `last`, of a request each: from when to when they show
    (`start`, `end`) and were in flight (`begun`, `over`), when the steps before them end (`earlier`) and those after
    them begin (`later`)."""

    of: Rows
    first: Rows
    last: Rows
    start: Rows
    end: Rows
    begun: Rows
    over: Rows
    earlier: Rows
    later: Rows

    def at(self, places: Rows) -> Runs:
        return Runs(*(column[places] for column in self))


class Sights(NamedTuple):
    """Who sees a window from `since` to `until`; `windows` has a row a sight: the first and the last step that shows in
    it, its start and end, and from when to when loops show."""

    of: Rows
    windows: Rows
    since: Rows
    until: Rows


def common_windows(steps: Channel, flows: list[Flow]) -> tuple[CommonWindows, Ranges]:
    """The windows that some requests of a channel need, and who sees which; requests by their place in `flows`."""
    runs = _runs(steps, flows)
    whole, request = _whole(runs)
    gapless = np.bincount(request, minlength=len(whole.of)) == 1
    parts = zip(*_in_common(whole.at(np.flatnonzero(gapless))), strict=True)
    common = Sights(*(np.concatenate(columns) for columns in parts))
    listed, number = _distinct(common.windows)
    gaps = whole.at(np.flatnonzero(~gapless))
    in_gaps = runs.at(np.flatnonzero(~gapless[request]))
    windows = len(listed) + np.arange(len(gaps.of))
    ranges = Ranges(
        np.concatenate((common.of, gaps.of)),
        np.concatenate((number, windows)),
        np.concatenate((common.since, gaps.start)),
        np.concatenate((common.until, gaps.end)),
    )
    first, last, *times = listed.T
    of_gaps = (gaps.start, gaps.end, gaps.begun, gaps.over)
    start, end, begun, over = (np.append(*each) for each in zip(times, of_gaps, strict=True))
    run_of = np.append(np.arange(len(listed)), windows[np.searchsorted(gaps.of, in_gaps.of)])
    first, last = np.append(first, in_gaps.first), np.append(last, in_gaps.last)
    return CommonWindows(start, end, begun, over, run_of, first, last), _inside(ranges, flows)


def _whole(runs: Runs) -> tuple[Runs, Rows]:
    """A row a request: what its runs, which stand one behind the other, are together; and the row of each run."""
    heads = np.flatnonzero(np.diff(runs.of, prepend=-1))
    if not len(heads):
        return runs, heads
    tails = np.append(heads[1:], len(runs.of)) - 1
    first, start, begun = (np.minimum.reduceat(column, heads) for column in (runs.first, runs.start, runs.begun))
    last, end, over = (np.maximum.reduceat(column, heads) for column in (runs.last, runs.end, runs.over))
    earlier, later = runs.earlier[heads], runs.later[tails]
    whole = Runs(runs.of[heads], first, last, start, end, begun, over, earlier, later)
    return whole, np.searchsorted(whole.of, runs.of)


def in_sight(listed: CommonWindows, ranges: Ranges) -> CommonWindows:
    """The windows as far as any request sees them."""
    start, end = np.full(len(listed.start), EVER), np.full(len(listed.start), -EVER)
    np.minimum.at(start, ranges.window, ranges.start)
    np.maximum.at(end, ranges.window, ranges.end)
    return listed._replace(start=np.maximum(listed.start, start), end=np.minimum(listed.end, end))


def _in_common(whole: Runs) -> Iterator[Sights]:
    """What requests without gaps see: the steps from a first one on, then all, then those up to a last one.

    Where the earlier steps show until the later ones begin it is its own steps alone.
    """
    alone = np.maximum.reduce((whole.start, whole.earlier, whole.begun))
    shown = np.minimum.reduce((whole.end, whole.later, whole.over))
    plain = np.flatnonzero(alone < shown)
    own = whole.at(np.flatnonzero(alone >= shown))
    alone, shown, (of, first, last, start, end, begun, over, *_) = alone[plain], shown[plain], whole.at(plain)
    yield _sights(of, (first, EVER, start, alone, begun, EVER), start, alone)
    yield _sights(of, (-EVER, EVER, -EVER, EVER, -EVER, EVER), alone, shown)
    yield _sights(of, (-EVER, last, shown, end, -EVER, over), shown, end)
    yield _sights(own.of, own[1:7], own.start, own.end)


def _sights(of: Rows, window: tuple[Rows | int, ...], since: Rows, until: Rows) -> Sights:
    return Sights(of, np.stack([np.broadcast_to(column, len(of)) for column in window], axis=1), since, until)


def _distinct(windows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], Rows]:
    """The distinct rows, and the number of each row among them."""
    order = np.lexsort(windows.T[::-1])
    new = np.append(True, (np.diff(windows[order], axis=0) != 0).any(axis=1))[: len(order)]
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.cumsum(new) - 1
    return windows[order[new]], number


def _runs(steps: Channel, flows: list[Flow]) -> Runs:
    """The runs of steps of each request, those that show."""
    of = np.repeat(np.arange(len(flows)), [len(flow.steps) for flow in flows])
    step = np.concatenate([np.zeros(0, np.int64), *(flow.steps for flow in flows)])
    heads = np.flatnonzero((np.diff(of, prepend=-1) != 0) | (np.diff(step, prepend=-9) != 1))
    first, last = step[heads], step[np.append(heads[1:], len(step))[: len(heads)] - 1]
    low, high = np.searchsorted(steps.numbers, first, "left"), np.searchsorted(steps.numbers, last, "right")
    there = high > low
    of, first, last, low, high = (column[there] for column in (of[heads], first, last, low, high))
    through = np.where(steps.numbers[low] == first, steps.through[low], -EVER)
    return Runs(
        of,
        first,
        last,
        start=_least(steps.low, low, high),
        end=np.maximum(-_least(-steps.high, low, high), through),
        begun=_least(steps.begun, low, high),
        over=-_least(-steps.over, low, high),
        earlier=np.append(-EVER, np.maximum.accumulate(steps.high))[low],
        later=np.append(np.minimum.accumulate(steps.low[::-1])[::-1], EVER)[high],
    )


def _least(values: Rows, low: Rows, high: Rows) -> Rows:
    """The least of the values at each of some ranges of places, of which none is empty."""
    if not len(low):
        return low
    return np.minimum.reduceat(np.append(values, EVER), np.stack((low, high), axis=1).ravel())[::2]


def _inside(ranges: Ranges, flows: list[Flow]) -> Ranges:
    """The ranges, in order, as far as they lie in their requests' time."""
    order = np.lexsort((ranges.start, ranges.of))
    of, window, start, end = (column[order] for column in ranges)
    start = np.maximum(start, np.array([flow.start_ns for flow in flows], dtype=np.int64)[of])
    end = np.minimum(end, np.array([flow.end_ns for flow in flows], dtype=np.int64)[of])
    kept = end > start
    return Ranges(of[kept], window[kept], start[kept], end[kept])
