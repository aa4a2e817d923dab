"""The budgets of all requests at once, as `budget` defines that of one.

What requests share is cut once (`channel`, `stretches`, `axis`) and each takes its part of it. Its own spans and waits
are cut on an axis on which the requests lie one behind the other; where those and what is shared meet, the one that
counts takes the time from the other. So the cost grows with the spans, not with the spans of each step for each of its
requests.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from tracing.breakdown.requests.axis import Axis, laid
from tracing.breakdown.requests.channel import channel
from tracing.breakdown.requests.intervals import Intervals, Names, joined
from tracing.breakdown.requests.own import Requests, own_intervals, requests
from tracing.breakdown.requests.ownwaits import own_waits
from tracing.breakdown.requests.piece import UNEXPLAINED, WAIT
from tracing.breakdown.requests.stretches import Ranges, stretches
from tracing.timeline.index import Index, Rows
from tracing.timeline.intervals import gaps, overlap, overlapping, topmost, union
from tracing.timeline.requests import Flow


class Totals:
    """Nanoseconds by request and part."""

    def __init__(self, requests: int) -> None:
        self._requests = requests
        self._parts: dict[int, Rows] = {}

    def add(self, of: Rows, part: Rows, ns: Rows) -> None:
        """Add some times, each to the part of a request."""
        for number in np.unique(part).tolist():
            here = part == number
            total = np.bincount(of[here], weights=ns[here], minlength=self._requests).astype(np.int64)
            self._parts[number] = self._parts.get(number, 0) + total

    def by_part(self) -> dict[int, Rows]:
        return self._parts


def budgets(index: Index, flows: list[Flow]) -> pd.DataFrame:
    """Nanoseconds by request (a row each, by id) and part; those of a request add up to its latency."""
    names, asked, totals = Names(index.stages), requests(index, flows), Totals(len(flows))
    pairs = sorted(set(zip(asked.core.tolist(), asked.front.tolist(), strict=True)))
    own = joined([own_intervals(index, asked, pairs), own_waits(index, names, asked)])
    own = own.within(asked.start[own.of], asked.end[own.of])
    shift = np.cumsum(asked.end - asked.start + 1) - asked.end  # from the clock to the axis of requests
    bounds, top = topmost(own.start + shift[own.of], own.end + shift[own.of], own.precedence())
    covered = np.flatnonzero(top >= 0)
    own = own.at(top[covered])._replace(start=bounds[covered] - shift[own.of[top[covered]]])
    own = own._replace(end=bounds[covered + 1] - shift[own.of])
    totals.add(own.of, own.part, own.end - own.start)
    for core, front in pairs:
        ours = np.flatnonzero((asked.core == core) & (asked.front == front))
        shared = channel(index, names, core, front)
        listed, ranges = stretches(shared, [flows[place] for place in ours.tolist()])
        ranges = ranges._replace(of=ours[ranges.of])
        axis = laid(index, names, shared, listed)
        _share(totals, axis, ranges)
        _settle(totals, axis, ranges, own, shift)
        _loops_outside(totals, index, front, ours, asked, ranges, own, shift)
    return _frame(names, totals, flows)


def _share(totals: Totals, axis: Axis, ranges: Ranges) -> None:
    """Give each request what is on top in its ranges."""
    part = axis.intervals.part[axis.top]
    start, end = (times + axis.shift[ranges.stretch] for times in (ranges.start, ranges.end))
    for number in np.unique(part).tolist():
        here = part == number
        ns = overlap((axis.start[here], axis.end[here]), start, end)
        totals.add(ranges.of, np.full(len(ns), number), ns)


def _settle(totals: Totals, axis: Axis, ranges: Ranges, own: Intervals, shift: Rows) -> None:
    """Where a request's own and what it shares meet, take the time from the one that does not count."""
    seen = ranges.start + shift[ranges.of], ranges.end + shift[ranges.of]
    which, place = overlapping(own.start + shift[own.of], own.end + shift[own.of], seen)
    own, there = own.at(which), axis.shift[ranges.stretch[place]]
    start = np.maximum(own.start, ranges.start[place]) + there
    end = np.minimum(own.end, ranges.end[place]) + there
    telling = axis.intervals.rank[axis.top] > WAIT
    waits = own.rank <= WAIT
    lost = overlap((axis.start[telling], axis.end[telling]), start[waits], end[waits])
    totals.add(own.of[waits], own.part[waits], -lost)
    _compare(totals, axis, np.flatnonzero(~telling), own.at(np.flatnonzero(waits)), start[waits], end[waits])
    _compare(totals, axis, np.arange(len(axis.top)), own.at(np.flatnonzero(~waits)), start[~waits], end[~waits])


def _compare(totals: Totals, axis: Axis, pieces: Rows, own: Intervals, start: Rows, end: Rows) -> None:
    """Settle between some pieces of the axis and a request's own intervals, one by one."""
    which, place = overlapping(start, end, (axis.start[pieces], axis.end[pieces]))
    place = pieces[place]
    mine, shared = own.at(which), axis.intervals.at(axis.top[place])
    both = np.minimum(end[which], axis.end[place]) - np.maximum(start[which], axis.start[place])
    totals.add(mine.of, np.where(mine.counts_before(shared), shared.part, mine.part), -both)


def _loops_outside(
    totals: Totals, index: Index, front: int, ours: Rows, asked: Requests, ranges: Ranges, own: Intervals, shift: Rows
) -> None:
    """The own time of the front end's loops, where neither a request's own nor what it shares explains anything."""
    loops = index.loops(front, "front end")
    if not len(loops.place):
        return
    start = np.concatenate((own.start + shift[own.of], ranges.start + shift[ranges.of]))
    end = np.concatenate((own.end + shift[own.of], ranges.end + shift[ranges.of]))
    windows = asked.start[ours] + shift[ours], asked.end[ours] + shift[ours]
    begun, over = gaps(windows, union(start, end))
    of = ours[np.searchsorted(windows[0], begun, "right") - 1]
    begun, over = begun - shift[of], over - shift[of]
    which, place = overlapping(begun, over, (loops.start, loops.end))
    ns = np.minimum(over[which], loops.end[place]) - np.maximum(begun[which], loops.start[place])
    totals.add(of[which], index.stage_number[loops.place[place]], ns)


def _frame(names: Names, totals: Totals, flows: list[Flow]) -> pd.DataFrame:
    columns = {names.listed[number]: ns for number, ns in totals.by_part().items()}
    frame = pd.DataFrame(columns, index=[flow.request for flow in flows], dtype=np.int64)
    latency = np.array([flow.latency_ns for flow in flows], dtype=np.int64)
    return frame.assign(**{UNEXPLAINED: latency - frame.sum(axis=1).to_numpy()})
