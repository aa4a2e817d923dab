"""Quantiles out of a histogram's buckets, by hand and by property."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.statistics.buckets import Quantile, quantile
from tests.probes.metrics.metricscommand import INF


@pytest.mark.parametrize(
    ("share", "buckets", "expected"),
    [
        (0.75, [(1, 10), (2, 20), (INF, 20)], Quantile(1.5, 1, 2)),
        (0.5, [(1, 10), (INF, 10)], Quantile(0.5, 0, 1)),
        (0.5, [(1, 10), (2, 20), (INF, 20)], Quantile(1.0, 0, 1)),
        (0.9, [(1, 10), (2, 10), (INF, 20)], Quantile(2, 2, INF)),
        (0.2, [(-1, 10), (2, 20), (INF, 20)], Quantile(-1, -INF, -1)),
        (0.75, [(-1, 10), (2, 20), (INF, 20)], Quantile(0.5, -1, 2)),
        (1.0, [(1, 0), (4, 8), (INF, 8)], Quantile(4.0, 1, 4)),
        (0.5, [(1, 10), (2, 8), (4, 20), (INF, 20)], Quantile(1.0, 0, 1)),  # a dent, as PromQL mends it
        (0.5, [(1, 0), (INF, 0)], None),
        (0.5, [(INF, 7)], None),
        (0.5, [(1, 3), (2, 7)], None),
        (0.5, [], None),
    ],
)
def test_quantile_as_computed_by_hand(share, buckets, expected) -> None:
    assert quantile(share, buckets) == expected


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, math.nan])
def test_quantile_refuses_what_is_no_share(share) -> None:
    with pytest.raises(ValueError, match="lies in"):
        quantile(share, [(1, 1), (INF, 1)])


BOUNDS = (0.5, 1.0, 2.0, 4.0)
VALUES = st.lists(st.floats(0.01, 5.0), min_size=1, max_size=60)


@given(VALUES, st.floats(0.01, 1.0))
def test_quantile_lies_in_the_bucket_of_the_true_one(values, share) -> None:
    buckets = [(bound, sum(value <= bound for value in values)) for bound in (*BOUNDS, INF)]
    true = sorted(values)[max(0, math.ceil(share * len(values) - 1e-9) - 1)]
    estimate = quantile(share, buckets)
    assert estimate is not None
    assert estimate.lower < true <= estimate.upper
    assert estimate.lower <= estimate.value <= estimate.upper
    assert estimate.above == (true > BOUNDS[-1])


@given(VALUES, st.lists(st.floats(0.01, 1.0), min_size=2, max_size=2))
def test_quantiles_never_fall(values, shares) -> None:
    buckets = [(bound, sum(value <= bound for value in values)) for bound in (*BOUNDS, INF)]
    low, high = (quantile(share, buckets) for share in sorted(shares))
    assert low is not None and high is not None
    assert low.value <= high.value + 1e-12


@given(VALUES)
def test_a_scaled_histogram_has_the_same_quantiles(values) -> None:
    buckets = [(bound, sum(value <= bound for value in values)) for bound in (*BOUNDS, INF)]
    thrice = [(bound, 3 * count) for bound, count in buckets]
    for share in (0.1, 0.5, 0.99):
        one, other = quantile(share, buckets), quantile(share, thrice)
        assert one is not None and other is not None
        assert one.value == pytest.approx(other.value)
