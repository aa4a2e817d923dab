"""How far a figure of a sample can be trusted: intervals for a share, for quantiles, and for a mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

TAIL = 0.025
SEED = 0
RESAMPLES = (50, 400)  # at least, at most
WORK = 10**8  # values that all resamples may touch together
METHOD = (
    "95 % intervals: Wilson's for shares; for the rest a bootstrap over requests (whole requests are drawn, because "
    "the gaps inside one are alike). An end is open where the sample is too small to bound it."
)


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; an end that the sample cannot give is None."""

    value: float
    low: float | None
    high: float | None


def wilson(successes: int, total: int) -> Estimate | None:
    """A share and its Wilson score interval (E. B. Wilson, 1927); None where nothing was tried."""
    if total <= 0:
        return None
    share = successes / total
    interval = binomtest(successes, total).proportion_ci(1 - 2 * TAIL, method="wilson")
    return Estimate(share, min(float(interval.low), share), max(float(interval.high), share))


class Sample:
    """Values in groups that belong together: `owners[i]` is the number of the request that `values[i]` is of."""

    def __init__(self, values: Sequence[float], owners: Sequence[int] | None = None) -> None:
        numbers = np.asarray(values, dtype=float)
        order = np.argsort(numbers, kind="stable")  # sorted once, so that a resample's quantiles need no sorting
        self._sorted = numbers[order]
        _, groups = np.unique(np.arange(len(numbers)) if owners is None else np.asarray(owners), return_inverse=True)
        self._owners = groups[order]
        self.groups = int(groups.max()) + 1 if len(numbers) else 0

    def __len__(self) -> int:
        return len(self._sorted)

    def quantiles(self, shares: Sequence[float]) -> list[Estimate] | None:
        """Each quantile, linear between neighbours, with its interval; None where there is nothing."""
        if not len(self):
            return None
        values = np.quantile(self._sorted, shares)
        resampled = [
            np.quantile(self._sorted, shares, method="inverted_cdf", weights=weights) for weights in self._resamples()
        ]
        lows, highs = np.quantile(np.array(resampled), [TAIL, 1 - TAIL], axis=0)
        return [
            Estimate(
                float(value),
                None if self.groups < 2 or (1 - share) ** len(self) > TAIL else min(float(low), float(value)),
                None if self.groups < 2 or share ** len(self) > TAIL else max(float(high), float(value)),
            )
            for value, low, high, share in zip(values, lows, highs, shares, strict=True)
        ]

    def mean(self) -> Estimate | None:
        """The mean with its interval; no interval for a single request."""
        if not len(self):
            return None
        value = float(self._sorted.mean())
        if self.groups < 2:
            return Estimate(value, None, None)
        resampled = [float(np.average(self._sorted, weights=weights)) for weights in self._resamples()]
        low, high = np.quantile(resampled, [TAIL, 1 - TAIL])
        return Estimate(value, float(low), float(high))

    def _resamples(self) -> Iterator[NDArray[np.int64]]:
        """How often each value is in a resample, for one resample after the other; the same ones every time."""
        least, most = RESAMPLES
        generator = np.random.default_rng(SEED)
        for _ in range(max(least, min(most, WORK // len(self)))):
            counts = np.bincount(generator.integers(0, self.groups, self.groups), minlength=self.groups)
            yield counts[self._owners]
