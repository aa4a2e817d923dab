"""The arithmetic of slopes: what an interval holds, how often, and where an answer bends."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.statistics.intervals import Estimate
from tracing.whatif.slopes import (
    BlockPair,
    SizedSlope,
    center,
    end_of_hiding,
    least_pairs,
    sized_slope,
    stage_slope,
)

VALUES = st.lists(st.integers(-1000, 1000).map(float), min_size=6, max_size=25)
RUNS = 500


def sized(achieved_ns: float, low: float | None, high: float | None, value: float | None = None) -> SizedSlope:
    middle = value if value is not None else ((low or 0) + (high or 0)) / 2
    return SizedSlope(achieved_ns, Estimate(middle, low, high), 10)


def test_the_estimate_of_a_few_values_by_hand() -> None:
    """Means of two, each with itself too: 0, 0.5, 1, 5, 5.5, 10; the outlier moves the median little."""
    assert center([0.0, 1.0, 10.0]) == Estimate(3.0, None, None)


def test_six_values_are_the_fewest_with_an_interval() -> None:
    """Of six, 2 of 2⁶ outcomes are one-sided: 3.1 % in all."""
    assert least_pairs(1) == 6
    assert center([1, 2, 3, 4, 5]).low is None
    assert center([1, 2, 3, 4, 5, 6]) == Estimate(3.5, 1.0, 6.0)


@pytest.mark.parametrize("intervals", [1, 6, 30])
def test_so_many_pairs_suffice_and_one_less_does_not(intervals: int) -> None:
    least = least_pairs(intervals)
    assert center([float(number) for number in range(least)], intervals).low == 0
    assert center([float(number) for number in range(least - 1)], intervals).low is None


@given(VALUES, st.integers(-100, 100), st.integers(1, 8))
def test_moved_and_stretched_values_move_and_stretch_the_estimate(values: list[float], move: int, by: int) -> None:
    before, after = center(values), center([by * value + move for value in values])
    assert after.low == by * (before.low or 0) + move and after.high == by * (before.high or 0) + move
    assert after.value == pytest.approx(by * before.value + move)


@given(VALUES)
def test_turned_values_turn_the_interval(values: list[float]) -> None:
    before, after = center(values), center([-value for value in values])
    assert (after.low, after.high) == (-(before.high or 0), -(before.low or 0))


@given(VALUES)
def test_the_interval_holds_the_estimate_and_grows_with_the_family(values: list[float]) -> None:
    one, two = center(values, 1), center(values, 2)
    assert one.low is not None and one.high is not None and one.low <= one.value <= one.high
    if two.low is not None and two.high is not None:
        assert two.low <= one.low and one.high <= two.high


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(1e3, 1e6)), min_size=1, max_size=10))
def test_a_slope_is_effect_over_delay(pairs: list[tuple[float, float]]) -> None:
    slope = sized_slope([BlockPair(effect, achieved) for effect, achieved in pairs])
    slopes = [effect / achieved for effect, achieved in pairs]
    assert min(slopes) - 1e-9 <= slope.slope.value <= max(slopes) + 1e-9 and slope.pairs == len(pairs)


def test_what_is_hidden_is_the_delay_that_did_not_show() -> None:
    assert sized(4e6, 0.45, 0.55, 0.5).hidden == Estimate(2e6, pytest.approx(1.8e6), pytest.approx(2.2e6))


def test_an_answer_that_bends_has_the_slope_before_and_the_end_of_hiding() -> None:
    small, middle, large = sized(1e6, -0.2, 0.2), sized(2e6, -0.1, 0.1), sized(4e6, 0.45, 0.55, 0.5)
    answer = stage_slope([large, small, middle])
    assert answer.slope == middle.slope and answer.hidden_up_to_ns == end_of_hiding(middle, large)
    assert answer.sizes == (small, middle, large)


@pytest.mark.parametrize(
    ("of_1_ms", "of_4_ms", "end_ms"), [(0.0, 2.0, 2.0), (0.5, 3.5, 0.5), (0.6, 4.2, 0.5), (-0.1, 3.5, 1.0)]
)
def test_hiding_ends_where_the_steeper_line_meets_zero(of_1_ms: float, of_4_ms: float, end_ms: float) -> None:
    """A line through the two largest delays, or with slope 1 through the largest; where the smaller is hidden whole,
    hiding ends after it."""
    smaller, larger = sized(1e6, None, None, of_1_ms), sized(4e6, None, None, of_4_ms / 4)
    assert end_of_hiding(smaller, larger) == Estimate(pytest.approx(end_ms * 1e6), None, None)


@given(
    st.floats(0.01, 6), st.floats(1, 1.5), st.lists(st.floats(0, 0.2), min_size=4, max_size=4), st.sampled_from([2, 3])
)
def test_the_end_of_hiding_is_in_its_interval_where_the_slopes_are_in_theirs(
    end: float, costs: float, errors: list[float], times: int
) -> None:
    """Beyond the end each unit costs as much; `errors` are how far an interval reaches from the slope."""

    def size(delay: float, below: float, above: float) -> SizedSlope:
        slope = costs * max(0.0, delay - end) / delay
        return sized(delay, slope - below, slope + above)

    estimate = end_of_hiding(size(4, *errors[:2]), size(4 * times, *errors[2:]))
    assert estimate.low is not None and estimate.high is not None
    assert estimate.low <= estimate.value + 1e-9 and estimate.value <= estimate.high + 1e-9
    if end <= 4:
        assert estimate.low - 1e-9 <= end <= estimate.high + 1e-9


def test_an_answer_that_does_not_bend_has_the_slope_of_the_largest_delay() -> None:
    small, large = sized(1e6, 0.7, 1.3), sized(4e6, 0.98, 1.02)
    assert stage_slope([small, large]).slope == large.slope
    assert stage_slope([small, large]).hidden_up_to_ns is None


def test_without_intervals_nothing_bends() -> None:
    assert stage_slope([sized(1e6, None, None, 0.0), sized(4e6, None, None, 1.0)]).hidden_up_to_ns is None


def noisy(draw: random.Random, slope: float) -> float:
    """A pair's slope on a busy machine: every fifth is far off."""
    return slope + draw.gauss(0, 0.2) * (1 if draw.random() < 0.8 else 5)


def missed(count: int, family: int, slope: float) -> float:
    """The share of runs in which any interval of a family does not hold the slope."""
    draw, misses = random.Random(count), 0
    for _ in range(RUNS):
        estimates = [center([noisy(draw, slope) for _ in range(count)], family) for _ in range(family)]
        misses += any(not (e.low is not None and e.high is not None and e.low <= slope <= e.high) for e in estimates)
    return misses / RUNS


@pytest.mark.parametrize(("count", "family"), [(8, 1), (30, 1), (12, 6)])
def test_a_family_of_intervals_misses_in_at_most_five_of_a_hundred_runs(count: int, family: int) -> None:
    """The bound leaves room for what chance adds to 5 % in so many runs."""
    assert missed(count, family, 0.5) < 0.07


def test_more_pairs_narrow_the_interval() -> None:
    draw = random.Random(1)
    pairs = [noisy(draw, 1.0) for _ in range(80)]
    widths = [(e.high or 0) - (e.low or 0) for e in (center(pairs[:count]) for count in (10, 20, 40, 80))]
    assert all(later < earlier for earlier, later in pairwise(widths))
