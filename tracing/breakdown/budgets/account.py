"""The time of all requests by part, as `tracing.breakdown.requests.pieces` says for one what explains it.

What requests share is cut once (`channel`, `commonwindows`, `axis`) and each takes its ranges of it. Its own spans and
waits are cut on an axis on which the requests lie one behind the other; where those and what is shared meet, the time
is taken from the one that does not count. So the cost grows with the spans, not with the spans of each step times the
requests in it.

Where the machine was sampled time is counted again for each cause that kept a thread from running: in nanoseconds, and
in those that a thread stood in the run queue, that the quota kept it there, and that the hypervisor took.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from tracing.breakdown.budgets.axis import Axis, laid
from tracing.breakdown.budgets.channel import Channel, channel
from tracing.breakdown.budgets.commonwindows import Ranges, common_windows, in_sight
from tracing.breakdown.budgets.intervals import LOOP_PARTS, Intervals, Names, intervals, joined
from tracing.breakdown.budgets.own import Requests, own_intervals, requests
from tracing.breakdown.budgets.ownwaits import own_waits
from tracing.breakdown.requests.piece import LOOP, MACHINE, UNEXPLAINED, WAIT, by_cause
from tracing.timeline.contention import Contention
from tracing.timeline.index import Index
from tracing.timeline.intervals import apart, distinct, gaps, overlapping, topmost, union
from tracing.timeline.lookups.rows import Rows
from tracing.timeline.requests import Flow

AT_ONCE = 500  # requests
LAST = [*MACHINE, UNEXPLAINED]  # of the columns
Clock = Callable[[Rows], Rows]  # what had passed by some times, in nanoseconds


class PartTotals:
    """Nanoseconds by request and part, as some clock counts them."""

    def __init__(self, requests: int) -> None:
        self._requests = requests
        self.by_part: dict[int, Rows] = {}

    def add(self, of: Rows, part: Rows, ns: Rows) -> None:
        """Add times, each to the part of a request."""
        parts, size = distinct(part), self._requests
        both = np.searchsorted(parts, part) * size + of
        totals = np.bincount(both, weights=ns, minlength=len(parts) * size).astype(np.int64).reshape(-1, size)
        for number, total in zip(parts.tolist(), totals, strict=True):
            self.by_part[number] = self.by_part.get(number, 0) + total


class Lost(NamedTuple):
    """What one cause took of some requests: by part, and in all, whatever explains it."""

    totals: PartTotals
    whole: Rows


class Scene(NamedTuple):
    """The requests of one channel: what each sees of the axis when, what is on top of its own, and where it lies on the
    axis of requests (`shift` is what to add to its times)."""

    axis: Axis
    ranges: Ranges
    own: Intervals
    shift: Rows


def account(index: Index, flows: list[Flow], samples: Contention, cores: int) -> pd.DataFrame:
    """Nanoseconds by request (a row each, by id) and part; those of a request add up to its latency exactly.

    So many requests are taken at once as keep memory small, in the order of their ends: those see much the same steps.
    """
    names = Names(index.stages)
    channel_of = cache(partial(channel, index, names))
    order = sorted(range(len(flows)), key=lambda place: flows[place].end_ns)
    batches = [order[at : at + AT_ONCE] for at in range(0, len(order), AT_ONCE)] or [[]]
    some = (requests(index, [flows[place] for place in batch]) for batch in batches)
    frames = [_of_some(index, names, channel_of, asked, (samples, cores)) for asked in some]
    columns = dict.fromkeys(name for frame in frames for name in frame if name not in LAST)
    whole = pd.concat([frame.reindex(columns=[*columns, *LAST], fill_value=0) for frame in frames])
    whole = whole.iloc[np.argsort(np.array(order, dtype=np.int64))]
    return whole.loc[:, (whole != 0).any() | (whole.columns == UNEXPLAINED)]


def _of_some(
    index: Index,
    names: Names,
    channel_of: Callable[[int, int], Channel],
    asked: Requests,
    machine: tuple[Contention, int],
) -> pd.DataFrame:
    """The same for some of the requests, with parts in which none of them was too."""
    flows = asked.flows
    totals = PartTotals(len(flows))
    lost = {cause: Lost(PartTotals(len(flows)), np.zeros(len(flows), dtype=np.int64)) for cause in MACHINE}
    pairs = sorted(set(zip(asked.core.tolist(), asked.front.tolist(), strict=True)))
    shift = np.cumsum(asked.end - asked.start + 1) - asked.end
    channels = {pair: channel_of(*pair) for pair in pairs}
    own = _cut(joined([own_intervals(index, asked, channels), own_waits(index, names, asked)]), asked, shift)
    for (core, front), shared in channels.items():
        ours = np.flatnonzero(asked.of(core, front))
        listed, ranges = common_windows(shared, [flows[place] for place in ours.tolist()])
        axis = laid(index, names, shared, in_sight(listed, ranges))
        mine = own.at(np.flatnonzero(np.isin(own.of, ours))) if len(pairs) > 1 else own
        scene = Scene(axis, ranges._replace(of=ours[ranges.of]), mine, shift)
        outside = _loops_outside(index, scene, asked, ours, front)
        _count(totals, scene, outside, lambda times: times)
        for cause, clock in _machine_clocks(*machine, index.threads_of(core, front)).items():
            _count(lost[cause].totals, scene, outside, clock)
            lost[cause].whole[ours] = clock(asked.end[ours]) - clock(asked.start[ours])
    return _frame(names, totals, lost, asked)


def _cut(own: Intervals, asked: Requests, shift: Rows) -> Intervals:
    """What is on top of each request's own; most of that overlaps nothing else of its own."""
    own = own.within(asked.start[own.of], asked.end[own.of])
    alone = apart(own.start + shift[own.of], own.end + shift[own.of])
    single, own = own.at(np.flatnonzero(alone)), own.at(np.flatnonzero(~alone))
    bounds, top = topmost(own.start + shift[own.of], own.end + shift[own.of], own.precedence(shift))
    there = np.flatnonzero(top >= 0)
    own = own.at(top[there])
    return joined([single, own._replace(start=bounds[there] - shift[own.of], end=bounds[there + 1] - shift[own.of])])


def _count(totals: PartTotals, scene: Scene, outside: Intervals, clock: Clock) -> None:
    """Give each request what is on top in its ranges, what is on top of its own, and the loops outside of both; then
    take what was given twice."""
    axis, ranges, own, _ = scene
    part = axis.intervals.part[axis.top]
    start, end = (times + axis.shift[ranges.window] for times in (ranges.start, ranges.end))
    for number in distinct(part).tolist():
        here = np.flatnonzero(part == number)
        totals.add(ranges.of, np.full(len(start), number), _passed(axis, here, ranges.window, start, end, clock))
    for each in (own, outside):
        totals.add(each.of, each.part, clock(each.end) - clock(each.start))
    _settle(totals, scene, clock)


def _passed(axis: Axis, pieces: Rows, window: Rows, start: Rows, end: Rows, clock: Clock) -> Rows:
    """How much of some pieces of the axis lies between two places of a window."""
    if not len(pieces):  # of records that are shorter than a step
        return np.zeros(len(start), dtype=np.int64)
    of_piece = axis.shift[axis.intervals.of[axis.top[pieces]]]
    ended = clock(axis.end[pieces] - of_piece)
    before = np.append(0, np.cumsum(ended - clock(axis.start[pieces] - of_piece)))
    until = []
    for at in (start, end):
        place = np.searchsorted(axis.start[pieces], at, side="right")
        last = np.maximum(place - 1, 0)
        cut = (place > 0) & (axis.end[pieces][last] > at)
        until.append(before[place] - np.where(cut, ended[last] - clock(at - axis.shift[window]), 0))
    return until[1] - until[0]


def _settle(totals: PartTotals, scene: Scene, clock: Clock) -> None:
    """Where a request's own and what it shares meet, take the time from the one that does not count."""
    axis, ranges, own, shift = scene
    in_view = ranges.start + shift[ranges.of], ranges.end + shift[ranges.of]
    which, place = overlapping(own.start + shift[own.of], own.end + shift[own.of], in_view)
    own, window = own.at(which), ranges.window[place]
    start = np.maximum(own.start, ranges.start[place]) + axis.shift[window]
    end = np.minimum(own.end, ranges.end[place]) + axis.shift[window]
    telling = axis.intervals.rank[axis.top] > WAIT
    waits = np.flatnonzero(own.rank <= WAIT)
    lost = _passed(axis, np.flatnonzero(telling), window[waits], start[waits], end[waits], clock)
    totals.add(own.of[waits], own.part[waits], -lost)
    for mine, pieces in ((waits, np.flatnonzero(~telling)), (np.flatnonzero(own.rank > WAIT), np.arange(len(telling)))):
        which, place = overlapping(start[mine], end[mine], (axis.start[pieces], axis.end[pieces]))
        which, place = mine[which], pieces[place]
        there = axis.shift[window[which]]
        both = clock(np.minimum(end[which], axis.end[place]) - there)
        both -= clock(np.maximum(start[which], axis.start[place]) - there)
        one, other = own.at(which), axis.intervals.at(axis.top[place])
        totals.add(one.of, np.where(one.counts_before(other), other.part, one.part), -both)


def _loops_outside(index: Index, scene: Scene, asked: Requests, ours: Rows, front: int) -> Intervals:
    """The own time of the front end's loops, where neither a request's own nor what it shares is."""
    loops = index.cuts.loops(front, "front end")
    _, ranges, own, shift = scene
    start = np.concatenate([each.start + shift[each.of] for each in (own, ranges)])
    end = np.concatenate([each.end + shift[each.of] for each in (own, ranges)])
    windows = asked.start[ours] + shift[ours], asked.end[ours] + shift[ours]
    if not len(loops.place):
        return own.at(loops.place)
    begun, over = gaps(windows, union(start, end))
    of = ours[np.searchsorted(windows[0], begun, "right") - 1]
    which, place = overlapping(begun - shift[of], over - shift[of], (loops.start, loops.end))
    of, begun, over = of[which], begun[which], over[which]
    part = index.stage_number[loops.place[place]].astype(np.int64) + LOOP_PARTS
    own_time = intervals(of, part, LOOP, loops.start[place], loops.end[place], 0)
    return own_time.within(begun - shift[of], over - shift[of])


def _machine_clocks(samples: Contention, cores: int, threads: list[tuple[int, int]]) -> dict[str, Clock]:
    """By cause how long some threads had been kept from running by some time, of those that did."""
    if len(samples.moments) < 2:
        return {}
    kept = by_cause(samples.kept(threads, samples.moments[:-1], samples.moments[1:], cores))
    return {cause: partial(_passed_by, samples.moments, ns) for cause, ns in kept.items() if ns.any()}


def _passed_by(moments: Rows, grown: Rows, times: Rows) -> Rows:
    """The total by some times of what grew between moments."""
    return np.interp(times, moments, np.append(0, np.cumsum(grown))).astype(np.int64)


def _frame(names: Names, totals: PartTotals, lost: dict[str, Lost], asked: Requests) -> pd.DataFrame:
    """The totals as a table, with what is unexplained; of that and of loops what the machine took stands alone."""
    columns: dict[str, Rows] = {}
    none = np.zeros(len(asked.flows), dtype=np.int64)
    unexplained, causes = asked.end - asked.start, dict.fromkeys(lost, none)
    for number, ns in totals.by_part.items():
        unexplained = unexplained - ns
        for cause, each in lost.items() if number >= LOOP_PARTS else ():
            taken = np.minimum(each.totals.by_part.get(number, none), ns)
            causes[cause], ns = causes[cause] + taken, ns - taken
        name = names.listed[number % LOOP_PARTS]
        columns[name] = columns.get(name, none) + ns
    for cause, each in lost.items():
        elsewhere = sum((each.totals.by_part.get(number, none) for number in totals.by_part), none)
        taken = np.clip(each.whole - elsewhere, 0, unexplained)
        causes[cause], unexplained = causes[cause] + taken, unexplained - taken
    return pd.DataFrame(columns | causes | {UNEXPLAINED: unexplained}, index=[flow.request for flow in asked.flows])
