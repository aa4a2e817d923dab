"""Arithmetic of intervals against counting instants one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tracing.timeline.intervals import (
    Ints,
    Pieces,
    apart,
    by_start,
    contains,
    covered,
    gaps,
    length,
    overlap,
    precedence,
    topmost,
    union,
)

INTERVALS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=12)  # start, length
TIMES = np.arange(90)


def arrays(intervals: list[tuple[int, int]]) -> tuple[Ints, Ints]:
    start, lengths = np.array(intervals, dtype=np.int64).reshape(-1, 2).T
    return start, start + lengths


def instants(pieces: Pieces) -> set[int]:
    return {instant for start, end in zip(*pieces, strict=True) for instant in range(int(start), int(end))}


def test_pieces_that_touch_are_one() -> None:
    start, end = union(*arrays([(5, 5), (0, 5), (12, 1)]))
    assert (start.tolist(), end.tolist()) == ([0, 12], [10, 13])
    assert length((start, end)) == 11


@settings(deadline=None)
@given(INTERVALS, INTERVALS)
def test_every_instant_is_counted_once(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> None:
    one, two = union(*arrays(first)), union(*arrays(second))
    mine = {instant for start, span in first for instant in range(start, start + span)}
    assert instants(one) == mine
    assert instants(gaps(one, two)) == mine - instants(two)
    assert covered(one, TIMES).tolist() == [len([instant for instant in mine if instant < time]) for time in TIMES]
    assert overlap(one, TIMES, TIMES + 7).tolist() == [len(mine & set(range(time, time + 7))) for time in TIMES]
    assert set(TIMES[contains(one, TIMES)].tolist()) == mine


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 20), st.integers(0, 3)), max_size=12))
def test_the_highest_rank_is_on_top_and_of_these_the_last_begun(rows: list[tuple[int, int, int]]) -> None:
    start, end = arrays([row[:2] for row in rows])
    rank = np.array([row[2] for row in rows], dtype=np.int64)
    bounds, top = topmost(start, end, precedence(start, end, rank))
    for low, high, which in zip(bounds[:-1], bounds[1:], top, strict=True):
        there = [number for number in range(len(rows)) if start[number] <= low and end[number] >= high]
        wanted = max(((rank[n], start[n], -end[n]) for n in there), default=None)
        assert wanted == (None if which < 0 else (rank[which], start[which], -end[which]))


@given(INTERVALS)
def test_of_intervals_with_one_start_the_longest_comes_first(intervals: list[tuple[int, int]]) -> None:
    order = by_start(*arrays(intervals)).tolist()
    assert order == sorted(range(len(intervals)), key=lambda place: (intervals[place][0], -intervals[place][1]))


@given(INTERVALS.map(lambda intervals: [(start, length + 1) for start, length in intervals]))
def test_an_interval_is_apart_where_no_other_has_an_instant_of_it(intervals: list[tuple[int, int]]) -> None:
    each = [set(range(start, start + length)) for start, length in intervals]
    alone = [not any(mine & other for other in each[:place] + each[place + 1 :]) for place, mine in enumerate(each)]
    assert apart(*arrays(intervals)).tolist() == alone
