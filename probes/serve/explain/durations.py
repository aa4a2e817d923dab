"""Millions of durations in little memory: counted by their value to three figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np


class Durations:
    """Durations in one unit; count, sum and greatest are exact, quantiles are good to three figures."""

    def __init__(self, values: Iterable[float] = ()) -> None:
        self.total = 0.0
        self.greatest = 0.0
        self._counts: Counter[float] = Counter()
        for value in values:
            self.add(value)

    def add(self, value: float) -> None:
        """One more; not below 0."""
        self.total += value
        self.greatest = max(self.greatest, value)
        self._counts[float(f"{value:.3g}")] += 1

    @property
    def count(self) -> int:
        """How many there are."""
        return self._counts.total()

    @property
    def mean(self) -> float:
        """Their mean; there has to be one."""
        return self.total / self.count

    def quantile(self, share: float) -> float:
        """The least value that at least `share` of all do not exceed; there has to be one."""
        values, counts = list(self._counts), list(self._counts.values())
        return min(float(np.quantile(values, share, weights=counts, method="inverted_cdf")), self.greatest)

    def above(self, bound: float) -> int:
        """How many are greater, to three figures."""
        return sum(count for value, count in self._counts.items() if value > bound)
