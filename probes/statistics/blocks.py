"""Intervals by blocks of time, for figures of requests that ran side by side.

Requests that run at the same time share the server's steps: a thousand of them may be worth a dozen observations. What
falls into one block of time is therefore taken as one observation, and blocks are to be nearly independent.

- Length: a request's latency holds the steps of its whole life, so that two requests are alike as far as they overlap.
  A block lasts at least `LATENCIES` latencies: Σ L² / Σ L, the latency that is met at a random moment.
- Number: at most `MOST`; more hardly narrow an interval (B. Schmeiser, 1982: 10 to 30 do) and leave the blocks less
  independent. Under `FEWEST`, no interval.
- Slowness that outlasts requests: where neighbouring blocks are alike, pairs of them become one, as long as `FEWEST`
  are left (as in G. Fishman and L. Yarberry's ABATCH, 1997). What neighbours then still have in common widens the
  interval: the variance is multiplied by 1 + 2 r, where r is their correlation.

`tests/bench/coverage.py` simulates how often the intervals hold; the result is in `notes/tables/coverage.md`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from probes.statistics.intervals import TAIL, Estimate

Numbers = NDArray[np.float64]
LATENCIES = 2.0
FEWEST, MOST = 8, 16
LEAST_DEFF = 0.5  # blocks that happen to be alike do not make a share certain


@dataclass(frozen=True)
class Blocks:
    """A run of `seconds`, cut into `count` blocks of equal length; too few to tell anything where `count` is 0.

    `shortest_s` is how long a block has to be. Times of observations are seconds from the beginning of the run.
    """

    seconds: float
    count: int
    shortest_s: float

    @property
    def needed_s(self) -> float:
        """How long the run has to be for intervals."""
        return FEWEST * self.shortest_s

    def mean(self, values: Numbers, times: Numbers) -> Estimate:
        """The mean over all observations, with an interval from the sums and counts of the blocks.

        A ratio of two sums: with residuals s - mean · n of a block, its error is √(Σ residuals² · B / (B - 1)) / N.
        """
        value = float(values.mean())
        if not self.count:
            return Estimate(value, None, None)
        counts, sums = self._sums(times, np.ones_like(values)), self._sums(times, values)
        half = _half_width(sums - value * counts) / len(values)
        return Estimate(value, value - half, value + half)

    def quantiles(self, values: Numbers, times: Numbers, shares: Sequence[float]) -> list[Estimate]:
        """Quantiles, linear between neighbours, each with its interval by R. S. Woodruff (1952).

        The share q of values at or below the quantile has the interval q ± t √(q (1 - q) · deff / n), and the ends are
        the quantiles there; an end is open where that share is outside of (0, 1). `deff` is the variance of the share
        by the blocks' counts over that of n independent values.
        """
        ordered = np.sort(values)
        return [self._quantile(values, times, ordered, share) for share in shares]

    def _quantile(self, values: Numbers, times: Numbers, ordered: Numbers, share: float) -> Estimate:
        value = float(np.quantile(ordered, share))
        if not self.count:
            return Estimate(value, None, None)
        counts, below = self._sums(times, np.ones_like(values)), self._sums(times, (values <= value).astype(float))
        least = norm.ppf(1 - TAIL) * math.sqrt(share * (1 - share) * LEAST_DEFF / len(values))
        half = max(least, _half_width(below - below.sum() / len(values) * counts) / len(values))
        low = float(np.quantile(ordered, share - half, method="lower")) if share > half else None
        high = float(np.quantile(ordered, share + half, method="higher")) if share + half < 1 else None
        return Estimate(value, low, high)

    def rate(self, amounts: Numbers, begins: Numbers, ends: Numbers) -> Estimate:
        """Amounts a second, with an interval from the rates of the blocks.

        A request's amount is spread evenly over its time: counted at its end, a run would begin with an empty block.
        """
        value = float(amounts.sum()) / self.seconds
        if not self.count:
            return Estimate(value, None, None)
        length_s = self.seconds / self.count
        spread = amounts / np.maximum(ends - begins, 1e-9)
        edges = length_s * np.arange(self.count + 1)
        shares = (np.minimum(ends, b) - np.maximum(begins, a) for a, b in itertools.pairwise(edges))
        rates = np.array([float(spread @ share.clip(0)) / length_s for share in shares])
        half = _half_width(rates - rates.mean()) / self.count
        return Estimate(value, max(0.0, value - half), value + half)

    def _sums(self, times: Numbers, values: Numbers) -> Numbers:
        """The sum of the values in each block."""
        places = np.clip((times / self.seconds * self.count).astype(int), 0, self.count - 1)
        return np.bincount(places, values, minlength=self.count).astype(float)


def blocks(seconds: float, latencies: Numbers) -> Blocks:
    """The blocks of a run of `seconds` whose answers had these latencies.

    | run   | latencies      | a block has to last | blocks |
    | ----- | -------------- | ------------------- | ------ |
    | 100 s | 1 s each       | 2 s                 | 16     |
    | 100 s | 4 s each       | 8 s                 | 12     |
    | 100 s | 10 s each      | 20 s                | none   |
    """
    shortest_s = LATENCIES * float((latencies**2).sum() / latencies.sum()) if latencies.sum() > 0 else 0.0
    count = MOST if shortest_s * MOST <= seconds else int(seconds // shortest_s)
    return Blocks(seconds, count if count >= FEWEST and seconds > 0 else 0, shortest_s)


def _half_width(residuals: Numbers) -> float:
    """Half of the 95 % interval of the sum of residuals over blocks, which is itself 0."""
    while len(residuals) // 2 >= FEWEST and _common(residuals) > 1 / math.sqrt(len(residuals)):
        residuals = np.add.reduceat(residuals, np.arange(0, len(residuals), 2))
    count = len(residuals)
    variance = float(residuals @ residuals) * count / (count - 1) * (1 + 2 * max(0.0, _common(residuals)))
    return float(t.ppf(1 - TAIL, count - 1)) * math.sqrt(variance)


def _common(residuals: Numbers) -> float:
    """The correlation of neighbouring blocks."""
    squares = float(residuals @ residuals)
    return float(residuals[1:] @ residuals[:-1]) / squares if squares > 0 else 0.0
