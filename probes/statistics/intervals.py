"""How far a figure of a sample can be trusted: intervals for a share, for quantiles, and for a mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Z = 1.959963984540054  # the normal distribution's 97.5 % point
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
    share, spread = successes / total, Z * Z / total
    middle = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * math.sqrt(share * (1 - share) / total + spread / (4 * total))
    return Estimate(share, max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share)))


class Sample:
    """Values in groups that belong together: `owners[i]` is the number of the request that `values[i]` is of."""

    def __init__(self, values: Sequence[float], owners: Sequence[int] | None = None) -> None:
        import numpy as np

        numbers = np.asarray(values, dtype=float)
        order = np.argsort(numbers, kind="stable")
        self._sorted = numbers[order]
        _, groups = np.unique(np.arange(len(numbers)) if owners is None else np.asarray(owners), return_inverse=True)
        self._owners = groups[order]
        self.groups = int(groups.max()) + 1 if len(numbers) else 0

    def __len__(self) -> int:
        return len(self._sorted)

    def quantiles(self, shares: Sequence[float]) -> list[Estimate] | None:
        """Each quantile, linear between neighbours, with its interval; None where there is nothing."""
        import numpy as np

        if not len(self):
            return None
        found = np.quantile(self._sorted, shares)
        drawn = np.array([self._weighted(weights, shares) for weights in self._resamples()])
        lows, highs = np.quantile(drawn, [TAIL, 1 - TAIL], axis=0)
        return [
            Estimate(
                float(value),
                None if self.groups < 2 or (1 - share) ** len(self) > TAIL else min(float(low), float(value)),
                None if self.groups < 2 or share ** len(self) > TAIL else max(float(high), float(value)),
            )
            for value, low, high, share in zip(found, lows, highs, shares, strict=True)
        ]

    def mean(self) -> Estimate | None:
        """The mean with its interval; no interval for a single request."""
        import numpy as np

        if not len(self):
            return None
        value = float(self._sorted.mean())
        if self.groups < 2:
            return Estimate(value, None, None)
        drawn = [float(np.average(self._sorted, weights=weights)) for weights in self._resamples()]
        low, high = np.quantile(drawn, [TAIL, 1 - TAIL])
        return Estimate(value, float(low), float(high))

    def _resamples(self) -> Any:
        """How often each value is in a resample, for one resample after the other; the same ones every time."""
        import numpy as np

        least, most = RESAMPLES
        chance = np.random.default_rng(SEED)
        for _ in range(max(least, min(most, WORK // len(self)))):
            drawn = np.bincount(chance.integers(0, self.groups, self.groups), minlength=self.groups)
            yield drawn[self._owners]

    def _weighted(self, weights: Any, shares: Sequence[float]) -> Any:
        """The quantiles of a resample: the smallest value with at least that share of the weight at or below it."""
        import numpy as np

        below = np.cumsum(weights)
        places = np.searchsorted(below, np.asarray(shares) * below[-1])
        return self._sorted[np.minimum(places, len(self) - 1)]
