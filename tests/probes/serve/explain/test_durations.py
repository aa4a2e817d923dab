"""Durations counted to three figures: what is exact, and how near the quantiles are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.serve.explain.durations import Durations
from probes.serve.explain.loggedsteps import batch_range

TIMES = st.lists(st.floats(0.01, 1e6), min_size=1, max_size=200)


@given(TIMES, st.floats(0.01, 1.0))
def test_quantiles_are_good_to_three_figures(values: list[float], share: float) -> None:
    ranked = sorted(values)
    exact = next(value for number, value in enumerate(ranked, 1) if number >= share * len(ranked))
    assert Durations(values).quantile(share) == pytest.approx(exact, rel=5e-3)


@given(TIMES)
def test_count_mean_and_greatest_are_exact(values: list[float]) -> None:
    durations = Durations(values)
    assert (durations.count, durations.greatest) == (len(values), max(values))
    assert durations.mean == pytest.approx(sum(values) / len(values))


def test_memory_does_not_grow_with_the_number() -> None:
    durations = Durations(10 + number % 5000 / 100 for number in range(100_000))
    assert durations.count == 100_000 and len(durations._counts) < 1000


def test_above() -> None:
    assert Durations([1, 2, 3, 30]).above(3) == 1


@given(st.integers(1, 5000))
def test_a_batch_size_is_in_the_upper_half_of_its_range(requests: int) -> None:
    most = batch_range(requests)
    assert most // 2 < requests <= most
