"""Intervals of a batch's figures: against known ones, by hand, and against what they claim in simulated runs."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.statistics.blocks import Blocks, blocks
from probes.statistics.intervals import Estimate, ratio, wilson
from tests.probes.statistics.simulatedruns import FIGURES, SimulatedRun, bursts, coverage, holds, independent, lockstep


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (500, 1000, 0.4691, 0.5309)],
)
def test_wilson(successes: int, total: int, low: float, high: float) -> None:
    share = wilson(successes, total)
    assert share and share.value == successes / total
    assert (share.low, share.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@given(st.integers(1, 10_000), st.data())
def test_wilson_holds_its_share(total: int, data: st.DataObject) -> None:
    share = wilson(data.draw(st.integers(0, total)), total)
    assert share and share.low is not None and share.high is not None
    assert 0 <= share.low <= share.value <= share.high <= 1


def test_wilson_without_a_try() -> None:
    assert wilson(0, 0) is None


@pytest.mark.parametrize(
    ("run_s", "latencies", "count"),
    [
        (100.0, [1.0] * 5, 16),  # a block has to last two latencies: 2 s
        (100.0, [4.0] * 5, 12),
        (100.0, [10.0] * 5, 0),  # five blocks would be too few
        (16.0, [1.0] * 5, 8),
        (15.9, [1.0] * 5, 0),
        (160.0, [1.0, 9.0], 9),  # a random moment meets a latency of 82 / 10 s, a block lasts 16.4 s
        (0.0, [], 0),
    ],
)
def test_blocks_last_two_latencies(run_s: float, latencies: list[float], count: int) -> None:
    assert blocks(run_s, np.array(latencies)).count == count


EIGHT = Blocks(8.0, 8, 1.0)
SECONDS = np.arange(8) + 0.5  # an observation in each block


def test_a_mean_by_hand() -> None:
    """Blocks of 1 to 8: mean 4.5, s = 2.449, 95 % t-interval of 8 values ± 2.365 s / √8 = 2.048; neighbours unlike."""
    values = np.array([1.0, 8, 2, 7, 3, 6, 4, 5])
    estimate = EIGHT.mean(values, SECONDS)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((4.5, 2.4522, 6.5478), abs=1e-3)


def test_neighbours_that_are_alike_widen_the_interval() -> None:
    """1 to 8 in order: neighbours have 0.625 in common, a factor of √(1 + 1.25) = 1.5."""
    estimate = EIGHT.mean(np.arange(1.0, 9), SECONDS)
    assert (estimate.low, estimate.high) == pytest.approx((4.5 - 1.5 * 2.0478, 4.5 + 1.5 * 2.0478), abs=1e-3)


def test_requests_of_one_block_are_one_observation() -> None:
    """A thousand requests in eight waves tell no more than eight."""
    values = np.array([1.0, 8, 2, 7, 3, 6, 4, 5])
    waves = EIGHT.mean(np.repeat(values, 1000), np.repeat(SECONDS, 1000))
    assert waves == EIGHT.mean(values, SECONDS)


def test_a_median_by_hand() -> None:
    """Half of each block's ten values lie at or below 5: nothing but the least `deff` of a half, 0.5 ± 0.0775."""
    values, times = np.tile(np.arange(1.0, 11), 8), np.repeat(SECONDS, 10)
    (estimate,) = EIGHT.quantiles(values, times, [0.5])
    assert (estimate.value, estimate.low, estimate.high) == (5.5, 5.0, 6.0)


def test_an_end_beyond_the_sample_is_open() -> None:
    values, times = np.tile(np.arange(1.0, 11), 8), np.repeat(SECONDS, 10)
    (estimate,) = EIGHT.quantiles(values, times, [0.99])
    assert estimate.value == 10.0 and estimate.low is not None and estimate.high is None


def test_under_eight_blocks_ends_are_open() -> None:
    few, values = Blocks(8.0, 0, 2.0), np.arange(1.0, 9)
    assert few.mean(values, SECONDS) == Estimate(4.5, None, None)
    assert few.quantiles(values, SECONDS, [0.5]) == [Estimate(4.5, None, None)]
    assert few.rate(values, SECONDS - 0.5, SECONDS + 0.5) == Estimate(4.5, None, None)
    assert few.needed_s == 16.0


def test_a_rate_by_hand() -> None:
    """Eight requests in eight seconds, one a second, of 1 to 8 tokens: 4.5 a second, as the mean above."""
    amounts = np.array([1.0, 8, 2, 7, 3, 6, 4, 5])
    estimate = EIGHT.rate(amounts, np.arange(8.0), np.arange(8.0) + 1)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((4.5, 2.4522, 6.5478), abs=1e-3)
    steady = EIGHT.rate(np.full(4, 10.0), np.arange(0.0, 8, 2), np.arange(2.0, 10, 2))
    assert (steady.value, steady.low, steady.high) == pytest.approx((5.0, 5.0, 5.0))


@pytest.mark.parametrize(("kind", "waves"), [(independent, 40), (lockstep, 40), (bursts, 200)])
def test_intervals_cover_what_they_should(kind: Callable[..., SimulatedRun], waves: int) -> None:
    """200 seeded runs; requests that share all their steps are covered as those that share none, and bursts too."""
    shares = coverage(kind, waves, runs=200)
    assert shares["with intervals"] == 1.0
    assert all(0.92 <= shares[name] <= 0.98 for name in FIGURES if not name.endswith("P95"))
    assert all(shares[name] >= 0.92 for name in FIGURES if name.endswith("P95"))


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=60), st.floats(0.01, 0.99), st.randoms())
def test_a_figure_lies_in_its_interval(values: list[float], share: float, chance: random.Random) -> None:
    numbers = np.array(values)
    times = np.array([chance.uniform(0, 8) for _ in values])
    for estimate in (*EIGHT.quantiles(numbers, times, [share]), EIGHT.mean(numbers, times)):
        assert estimate.low is None or estimate.low <= estimate.value + 1e-9
        assert estimate.high is None or estimate.value - 1e-9 <= estimate.high
    (quantile,) = EIGHT.quantiles(numbers, times, [share])
    assert quantile.low is None or quantile.low >= min(values)
    assert quantile.high is None or quantile.high <= max(values)


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=40), st.floats(0.1, 100))
def test_intervals_scale_with_the_unit(values: list[float], factor: float) -> None:
    numbers, times = np.array(values), np.linspace(0, 8, len(values))
    one, other = EIGHT.mean(numbers, times), EIGHT.mean(numbers * factor, times)
    assert (other.value, other.low, other.high) == pytest.approx(
        (one.value * factor, (one.low or 0) * factor, (one.high or 0) * factor), abs=1e-6
    )


# --- one figure over another ---


def test_a_ratio_has_an_interval_as_far_as_its_figures_have() -> None:
    over, under = Estimate(2.0, 1.0, 4.0), Estimate(1.0, 0.5, 2.0)
    assert ratio(over, Estimate(1.0, 1.0, 1.0)) == Estimate(2.0, 1.0, 4.0)
    times = ratio(over, under)
    assert (
        times is not None and times.low == pytest.approx(2 * 0.5**2**0.5) and times.low * times.high == pytest.approx(4)
    )
    assert ratio(Estimate(2.0, 1.0, None), under) == Estimate(2.0, times.low, None)
    assert ratio(Estimate(2.0, -0.1, 4.0), under) == Estimate(2.0, None, times.high)
    assert ratio(Estimate(0.0, None, None), under) is None


POSITIVE = st.floats(1e-3, 1e3)


@given(*[st.tuples(POSITIVE, POSITIVE, POSITIVE).map(sorted)] * 2)
def test_a_ratio_and_its_inverse_mirror_each_other(one: list[float], other: list[float]) -> None:
    over, under = (Estimate(value, low, high) for low, value, high in (one, other))
    times, inverse = ratio(over, under), ratio(under, over)
    assert times and inverse and times.low and times.high and inverse.low and inverse.high
    assert times.low <= times.value * (1 + 1e-9) and times.value <= times.high * (1 + 1e-9)
    assert [times.value * inverse.value, times.low * inverse.high, times.high * inverse.low] == pytest.approx([1, 1, 1])


def test_the_interval_of_a_ratio_holds_it() -> None:
    """Two means of twenty skewed values each, whose true ratio is 2: about 95 of 100 intervals hold it."""
    random = np.random.default_rng(7)

    def mean(scale: float) -> Estimate:
        values = random.gamma(4.0, scale, 20)
        half = 2.093 * values.std(ddof=1) / np.sqrt(20)
        return Estimate(float(values.mean()), float(values.mean() - half), float(values.mean() + half))

    held = [holds(times, 2.0) for _ in range(1000) if (times := ratio(mean(2.0), mean(1.0)))]
    assert 930 <= sum(held) <= 970
