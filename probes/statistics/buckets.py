"""Quantiles of a histogram of which only the counts per bucket are known, as PromQL's `histogram_quantile` finds them.

They are estimates: inside its bucket a quantile is placed as if the observations were spread evenly.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

Bucket = tuple[float, float]  # upper bound, observations up to it


@dataclass(frozen=True)
class Quantile:
    """An interpolated quantile, and the bucket that it fell into, which is all that is certain.

    Where that is the last bucket, which has no end, `value` is where it begins and the quantile lies somewhere above.
    `below`: the first bucket is too wide to place it; `value` is that bucket's end, and the quantile lies below it.
    """

    value: float
    lower: float
    upper: float
    below: bool = False

    @property
    def above(self) -> bool:
        """Whether only a lower bound is known."""
        return math.isinf(self.upper)


def quantile(share: float, buckets: Sequence[Bucket], mean: float | None = None) -> Quantile | None:
    """The `share` quantile (0 < share ≤ 1) of `buckets`, ascending and cumulative, the last bound +Inf.

    Of values that are never negative, a share q lies at or below mean / (1 - q) (Markov's inequality), so that no
    quantile stands above that where the `mean` is known.

    None where nothing was observed, or where the buckets are too few or without an end to say anything.

    | buckets                            | share | value    | why                             |
    | ---------------------------------- | ----- | -------- | ------------------------------- |
    | (1, 10) (2, 20) (+Inf, 20)         | 0.75  | 1.5      | half-way through the second     |
    | (1, 10) (+Inf, 10)                 | 0.5   | 0.5      | the first bucket begins at zero |
    | (1, 10) (2, 10) (+Inf, 20)         | 0.9   | above 2  | in the overflow                 |
    """
    if not 0 < share <= 1:
        raise ValueError(f"a quantile lies in (0, 1], not at {share}")
    if len(buckets) < 2 or not math.isinf(buckets[-1][0]):
        return None
    bounds = [bound for bound, _ in buckets]
    counts = list(accumulate((count for _, count in buckets), max))  # a look in mid-count can leave a dent
    if counts[-1] <= 0:
        return None
    rank = share * counts[-1]
    at = bisect_left(counts, rank, hi=len(counts) - 1)
    if at == len(counts) - 1:
        return Quantile(bounds[-2], bounds[-2], math.inf)
    inside = _inside(at, rank, bounds, counts)
    return inside if mean is None or share == 1 else _limited(inside, mean / (1 - share))


def _limited(inside: Quantile, most: float) -> Quantile:
    """The quantile where it can be at `most` so much.

    | interpolated            | at most | shown                                     |
    | ----------------------- | ------- | ----------------------------------------- |
    | 15 of (10, 20)          | 12      | 12                                        |
    | 150 of (0, 300)         | 0.05    | below 300: the first bucket says no more  |
    """
    if inside.lower == 0 and most < inside.upper:
        return replace(inside, value=inside.upper, below=True)
    return replace(inside, value=min(inside.value, max(most, inside.lower)))


def _inside(at: int, rank: float, bounds: list[float], counts: list[float]) -> Quantile:
    """The quantile in bucket `at`, which is not the last."""
    upper = bounds[at]
    if at == 0 and upper <= 0:
        return Quantile(upper, -math.inf, upper)
    lower, below = (bounds[at - 1], counts[at - 1]) if at else (0.0, 0.0)
    return Quantile(lower + (upper - lower) * (rank - below) / (counts[at] - below), lower, upper)
