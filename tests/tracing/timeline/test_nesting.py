"""Which intervals of a thread are open when another begins."""

from __future__ import annotations

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from tracing.timeline.nesting import Nesting, cut_at_waits


def test_what_is_over_is_closed_from_the_inside_out() -> None:
    nesting = Nesting[str]()
    assert nesting.begin(0, 100, "outer") == []
    assert nesting.begin(10, 50, "middle") == []
    assert nesting.begin(20, 50, "inner") == []
    assert nesting.begin(50, 60, "later") == [(50, "inner"), (50, "middle")]
    assert nesting.close() == [(60, "later"), (100, "outer")]
    assert nesting.close() == []


def test_an_interval_that_outlasts_the_one_around_it_is_cut() -> None:
    nesting = Nesting[str]()
    nesting.begin(0, 30, "outer")
    nesting.begin(10, 90, "longer")
    assert nesting.open == [(30, "outer"), (30, "longer")]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 30)), max_size=15))
def test_all_are_closed_once_and_open_ones_enclose_each_other(intervals: list[tuple[int, int]]) -> None:
    nesting, closed = Nesting[int](), []
    ordered = sorted((start, -(start + length)) for start, length in intervals)
    for number, (start, negative_end) in enumerate(ordered):
        closed += nesting.begin(start, -negative_end, number)
        ends = [end for end, _ in nesting.open]
        assert ends == sorted(ends, reverse=True)
    closed += nesting.close()
    assert sorted(number for _, number in closed) == list(range(len(ordered)))


def test_work_is_left_out_of_what_its_thread_waited_for() -> None:
    rows = pd.DataFrame(
        [(0, 100, "work", 1), (10, 20, "wait", 1), (30, 60, "work", 1), (40, 50, "wait", 1), (45, 70, "work", 2)],
        columns=["start_ns", "end_ns", "share", "thread"],
    ).assign(pid=7)
    cut = cut_at_waits(rows)
    assert list(zip(*(column.tolist() for column in cut), strict=True)) == [
        (0, 0, 10),
        (0, 20, 40),
        (0, 50, 100),
        (1, 10, 20),
        (2, 30, 40),
        (2, 50, 60),
        (3, 40, 50),
        (4, 45, 70),
    ]
