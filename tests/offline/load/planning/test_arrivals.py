"""Arrivals have the rate and the spread that were asked for, are the same for a seed, and never lie in the past."""

from __future__ import annotations

import math
import statistics
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.load.planning.arrivals import (
    CONSTANT,
    GAMMA,
    POISSON,
    RECORDED,
    arrival_scatter,
    arrival_times,
    replayed_times,
)
from probes.errors import EnginescopeError

RATES = st.floats(0.05, 500)
SEEDS = st.integers(0, 2**32)


def gaps(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise([0.0, *times])]


def test_constant_arrivals() -> None:
    assert arrival_times(CONSTANT, 4, 1.0, seed=0) == [0.0, 0.25, 0.5, 0.75]


def test_recorded_arrivals_begin_with_the_first_and_end_with_the_duration() -> None:
    assert replayed_times([100.0, 100.5, 103.0, 109.0], None, 5) == [0.0, 0.5, 3.0]


def test_recorded_arrivals_scaled_to_a_rate() -> None:
    assert replayed_times([10.0, 12.0, 13.0], rate_req_s=2.0, duration_s=60) == pytest.approx([0.0, 2 / 3, 1.0])


def test_recorded_arrivals_that_go_back_are_refused() -> None:
    with pytest.raises(EnginescopeError, match="in order"):
        replayed_times([2.0, 1.0], None, 5)


@given(st.sampled_from([POISSON, GAMMA, CONSTANT]), RATES, st.floats(0.1, 20), SEEDS, st.floats(0.1, 10))
def test_no_arrival_lies_in_the_past_or_after_the_end(
    kind: str, rate: float, duration_s: float, seed: int, burstiness: float
) -> None:
    times = arrival_times(kind, rate, duration_s, seed, burstiness)
    assert times == sorted(times) and all(0 <= time < duration_s for time in times)
    assert times == arrival_times(kind, rate, duration_s, seed, burstiness)


@given(st.sampled_from([(POISSON, 1.0), (GAMMA, 0.25), (GAMMA, 4.0)]), RATES, SEEDS)
def test_mean_rate_and_spread_of_the_gaps(process: tuple[str, float], rate: float, seed: int) -> None:
    """Over 4,000 expected arrivals: the mean of n gaps is within 6 standard errors, their CV within 15 %."""
    kind, burstiness = process
    drawn = gaps(arrival_times(kind, rate, 4000 / rate, seed, burstiness))
    cv = 1 / math.sqrt(burstiness)
    assert statistics.fmean(drawn) * rate == pytest.approx(1, abs=6 * cv / math.sqrt(len(drawn)))
    assert statistics.stdev(drawn) / statistics.fmean(drawn) == pytest.approx(cv, rel=0.15)


def test_seeds_differ() -> None:
    assert arrival_times(POISSON, 10, 5, seed=1) != arrival_times(POISSON, 10, 5, seed=2)


def test_how_much_arrivals_scatter() -> None:
    assert [arrival_scatter(kind, 0.25, []) for kind in (POISSON, GAMMA, CONSTANT)] == [1.0, 2.0, 0.0]
    assert arrival_scatter(RECORDED, 1.0, [0.0, 1.0, 4.0]) == 0.5  # gaps of 1 and 3 s
    assert arrival_scatter(RECORDED, 1.0, [7.0]) == 1.0
