"""Windows laid one behind the other on an axis, and cut: what is on top at every instant."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tracing.breakdown.budgets.channel import EVER, Channel
from tracing.breakdown.budgets.commonwindows import CommonWindows
from tracing.breakdown.budgets.intervals import LOOP_PARTS, LOOPS, Intervals, Names, intervals, joined
from tracing.breakdown.requests.piece import LOOP, OTHER
from tracing.timeline.index import Index
from tracing.timeline.intervals import clipped, expanded, overlapping, topmost, union
from tracing.timeline.lookups.rows import Rows
from tracing.timeline.nesting import Cut

STEP_BITS = 40


class Axis(NamedTuple):
    """Pieces, by place, of the windows' time that something explains: `top` is the place of what is on top of each in
    `intervals`. `shift` is what to add to a window's times for its place."""

    shift: Rows
    start: Rows
    end: Rows
    top: Rows
    intervals: Intervals


def laid(index: Index, names: Names, channel: Channel, listed: CommonWindows) -> Axis:
    """The windows of a channel, cut."""
    start = np.maximum(listed.start, channel.low.min(initial=EVER))
    end = np.minimum(listed.end, np.maximum(channel.high, channel.through).max(initial=-EVER))
    listed = listed._replace(start=start, end=end)
    length = np.maximum(end - start, 0) + 1  # a nanosecond between two windows, so that nothing joins them
    shift = np.cumsum(length) - length - start
    low, high = _shown(channel, listed)
    which, place = expanded(channel.bounds[low], channel.bounds[high])
    window = listed.run_of[which]
    shown = joined(
        [
            channel.intervals.clipped(place, window, start[window], end[window]),
            _loops(index, channel.front_loops, start, end, LOOPS),
            _loops(index, channel.core_loops, np.maximum(start, listed.begun), np.minimum(end, listed.over), LOOPS + 1),
            _other_work(names, channel, listed, (low, high), shift),
        ]
    )
    bounds, top = topmost(shown.start + shift[shown.of], shown.end + shift[shown.of], shown.precedence(shift))
    change = np.flatnonzero(np.diff(top, prepend=-2))
    begun, over = bounds[:-1][change], np.append(bounds[:-1][change[1:]], bounds[-1:])
    covered = top[change] >= 0
    return Axis(shift, begun[covered], over[covered], top[change][covered], shown)


def _shown(channel: Channel, listed: CommonWindows) -> tuple[Rows, Rows]:
    """By run, from which place to which in the channel's steps they can show in their window."""
    before = np.maximum.accumulate(channel.high)
    after = np.minimum.accumulate(channel.low[::-1])[::-1]
    low = np.searchsorted(channel.numbers, listed.first, "left")
    high = np.searchsorted(channel.numbers, listed.last, "right")
    low = np.maximum(low, np.searchsorted(before, listed.start[listed.run_of], "right"))
    high = np.minimum(high, np.searchsorted(after, listed.end[listed.run_of], "left"))
    return low, np.maximum(high, low)


def _loops(index: Index, loops: Cut, start: Rows, end: Rows, order: int) -> Intervals:
    """The own time of loops in each window, between two times of its own."""
    which, place = overlapping(start, end, (loops.start, loops.end))
    stage = index.stage_number[loops.place[place]].astype(np.int64) + LOOP_PARTS
    return intervals(which, stage, LOOP, loops.start[place], loops.end[place], order).within(start[which], end[which])


def _other_work(
    names: Names, channel: Channel, listed: CommonWindows, shown: tuple[Rows, Rows], shift: Rows
) -> Intervals:
    """The core's work for other steps than a window's, or for none, while one of the window's was in flight."""
    which, place = overlapping(listed.start, listed.end, (channel.core_work.start, channel.core_work.end))
    run = (
        np.searchsorted(
            (listed.run_of << STEP_BITS) + np.maximum(listed.first, 0),
            (which << STEP_BITS) + channel.work_step[place],
            "right",
        )
        - 1
    )
    step = channel.work_step[place]
    own = (step >= 0) & (run >= 0) & (listed.run_of[run] == which) & (step <= listed.last[run])
    which, place = which[~own], place[~own]
    flown_of, flown = expanded(*shown)
    flown_of, flown = flown_of[channel.begun[flown] < EVER], flown[channel.begun[flown] < EVER]
    window = listed.run_of[flown_of]
    begun = np.maximum(channel.begun[flown], listed.start[window]) + shift[window]
    over = np.minimum(channel.over[flown], listed.end[window]) + shift[window]
    flights = union(begun[over > begun], over[over > begun])
    start, end = channel.core_work.start[place], channel.core_work.end[place]
    begin = np.maximum(start, listed.start[which]) + shift[which]
    finish = np.minimum(end, listed.end[which]) + shift[which]
    piece, first, last = clipped(begin, finish, flights)
    long = last > first  # not so a call of no length
    piece, first, last = piece[long], first[long], last[long]
    of = which[piece]
    part = names.number("wait: other work")
    work = intervals(of, part, OTHER, start[piece], end[piece], LOOPS + 2)
    return work.within(first - shift[of], last - shift[of])
