"""Which steps a request sees when: windows of time that requests have in common.

A request whose steps follow each other sees what all steps together show, from where no earlier step shows any more to
where the first later one begins. Before and after it sees its own steps alone, as do all requests that begin, or end,
with the same step. A request with gaps between its steps has a window of its own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from tracing.breakdown.budgets.channel import EVER, Channel
from tracing.timeline.lookups.rows import Rows
from tracing.timeline.requests import Flow

KEY = ["first", "last", "start", "end", "begun", "over"]


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


def common_windows(steps: Channel, flows: list[Flow]) -> tuple[CommonWindows, Ranges]:
    """The windows that some requests of a channel need, and who sees which; requests by their place in `flows`."""
    runs = _runs(steps, flows)
    whole = _whole(runs)
    whole["alone"] = whole[["start", "alone", "begun"]].max(axis=1)
    whole["shown"] = whole[["end", "shown", "over"]].min(axis=1)
    whole = whole.assign(since=whole["start"], until=whole["end"])
    plain, single = whole["alone"] < whole["shown"], whole["count"] == 1
    common = pd.concat([*_in_common(whole[plain & single]), whole[~plain & single]])
    number = common.groupby(KEY, sort=False).ngroup().to_numpy()
    listed = common[~common.duplicated(KEY)]
    gaps = whole[~single].assign(window=len(listed) + np.arange((~single).sum()))
    of_gaps = runs.merge(gaps[["of", "window"]], on="of")
    ranges = pd.concat([common.assign(window=number), gaps])
    runs_of = np.concatenate((np.arange(len(listed)), of_gaps["window"]))
    first, last = (np.concatenate((listed[name], of_gaps[name])) for name in ("first", "last"))
    start, end, begun, over = (np.concatenate((listed[name], gaps[name])) for name in ("start", "end", "begun", "over"))
    return CommonWindows(start, end, begun, over, runs_of, first, last), _inside(ranges, flows)


def _whole(runs: pd.DataFrame) -> pd.DataFrame:
    """A row a request: what its runs, which stand one behind the other, are together, and how many (`count`)."""
    heads = np.flatnonzero(np.diff(runs["of"], prepend=-1))
    least = ("first", "start", "begun")
    most = ("last", "end", "over")
    together = {name: np.minimum.reduceat(runs[name].to_numpy(), heads) if len(heads) else heads for name in least}
    together |= {name: np.maximum.reduceat(runs[name].to_numpy(), heads) if len(heads) else heads for name in most}
    tails = np.append(heads[1:], len(runs))[: len(heads)] - 1
    edges = {"alone": runs["earlier"].to_numpy()[heads], "shown": runs["later"].to_numpy()[tails]}
    return pd.DataFrame({"of": runs["of"].to_numpy()[heads], "count": tails - heads + 1, **together, **edges})


def in_sight(listed: CommonWindows, ranges: Ranges) -> CommonWindows:
    """The windows as far as any request sees them."""
    start, end = np.full(len(listed.start), EVER), np.full(len(listed.start), -EVER)
    np.minimum.at(start, ranges.window, ranges.start)
    np.maximum.at(end, ranges.window, ranges.end)
    return listed._replace(start=np.maximum(listed.start, start), end=np.minimum(listed.end, end))


def _in_common(whole: pd.DataFrame) -> list[pd.DataFrame]:
    """The windows with those steps from a first one on, with all, and with those up to a last one."""
    alone, shown = whole["alone"], whole["shown"]
    ever = whole.assign(first=-EVER, last=EVER, start=-EVER, end=EVER, begun=-EVER, over=EVER)
    head = whole.assign(last=EVER, over=EVER, end=alone, until=alone)
    middle = ever.assign(since=alone, until=shown)
    tail = whole.assign(first=-EVER, begun=-EVER, start=shown, since=shown)
    return [head, middle, tail]


def _runs(steps: Channel, flows: list[Flow]) -> pd.DataFrame:
    """The runs of steps that follow each other, of each request: from when to when they show (`start`, `end`) and were
    in flight (`begun`, `over`), when the steps before them end and those after them begin (`earlier`, `later`)."""
    of = np.repeat(np.arange(len(flows)), [len(flow.steps) for flow in flows])
    step = np.concatenate([np.zeros(0, np.int64), *(flow.steps for flow in flows)])
    heads = np.flatnonzero((np.diff(of, prepend=-1) != 0) | (np.diff(step, prepend=-9) != 1))
    first, last = step[heads], step[np.append(heads[1:], len(step))[: len(heads)] - 1]
    low, high = np.searchsorted(steps.numbers, first, "left"), np.searchsorted(steps.numbers, last, "right")
    there = high > low
    of, first, last, low, high = (column[there] for column in (of[heads], first, last, low, high))
    through = np.where(steps.numbers[low] == first, steps.through[low], -EVER)
    return pd.DataFrame(
        {
            "of": of,
            "first": first,
            "last": last,
            "start": _least(steps.low, low, high),
            "end": np.maximum(-_least(-steps.high, low, high), through),
            "begun": _least(steps.begun, low, high),
            "over": -_least(-steps.over, low, high),
            "earlier": np.append(-EVER, np.maximum.accumulate(steps.high))[low],
            "later": np.append(np.minimum.accumulate(steps.low[::-1])[::-1], EVER)[high],
        }
    )


def _least(values: Rows, low: Rows, high: Rows) -> Rows:
    """The least of the values at each of some ranges of places, of which none is empty."""
    if not len(low):
        return low
    return np.minimum.reduceat(np.append(values, EVER), np.stack((low, high), axis=1).ravel())[::2]


def _inside(ranges: pd.DataFrame, flows: list[Flow]) -> Ranges:
    """The ranges as far as they lie in their requests' time."""
    ranges = ranges.sort_values(["of", "since"], kind="stable")
    of, window, start, end = (ranges[name].to_numpy(dtype=np.int64) for name in ("of", "window", "since", "until"))
    start = np.maximum(start, np.array([flow.start_ns for flow in flows], dtype=np.int64)[of])
    end = np.minimum(end, np.array([flow.end_ns for flow in flows], dtype=np.int64)[of])
    kept = end > start
    return Ranges(of[kept], window[kept], start[kept], end[kept])
