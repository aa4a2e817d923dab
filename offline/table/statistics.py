"""The statistics of a table: means over trials with Student intervals, percentiles, and the machine's drift."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit  # Student's t; scipy.stats takes seconds to import

CONFIDENCE = 0.95
DRIFT_BOUND = 0.10
ESTIMATOR = (
    "mean over trials of each trial's own figure; 95 % interval by Student's t over the trials, which takes them as "
    "independent and roughly normal (with 3 trials the factor is 4.30: wide, and rightly so)"
)


@dataclass(frozen=True)
class Figure:
    """A mean with its interval; `lo` and `hi` are None where there is one value only."""

    mean: float
    lo: float | None
    hi: float | None
    n: int


def mean_interval(values: Sequence[float]) -> Figure | None:
    """The mean and its 95 % t-interval: m ± t(0.975, n-1) · s / √n; None without values."""
    if not values:
        return None
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return Figure(mean, None, None, 1)
    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))
    half = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2)) * spread
    return Figure(mean, mean - half, mean + half, len(values))


def percentile(values: Sequence[float], share: float, weights: Sequence[float] | None = None) -> float | None:
    """The weighted percentile: the smallest value with at least `share` (0-1) of the weight at or below it.

    Without weights it is numpy's default, linear between neighbours; None without values.
    """
    if not values:
        return None
    if weights is None:
        return float(np.quantile(values, share))
    return float(np.quantile(values, share, method="inverted_cdf", weights=weights))


@dataclass(frozen=True)
class Drift:
    """How the fixed kernel moved: its median over the run, the range of the arms' medians, and the trials' spread."""

    reference_s: float
    arms: float
    trials: float

    @property
    def inside(self) -> bool:
        """Whether arms may be compared with each other at all, without a second pass."""
        return self.arms <= DRIFT_BOUND

    def sentence(self, passes: int) -> str:
        """The first line of a table."""
        figures = (
            f"the reference kernel took {self.reference_s * 1e3:.1f} ms, moved {self.arms:.1%} between arms and "
            f"{self.trials:.1%} between single trials (5th to 95th percentile)"
        )
        if self.inside:
            return f"Drift inside its bound of {DRIFT_BOUND:.0%}: {figures}."
        if passes > 1:
            return f"DRIFTED past its bound of {DRIFT_BOUND:.0%}: {figures}. Compare arms across passes only."
        return (
            f"DRIFTED past its bound of {DRIFT_BOUND:.0%}: {figures}. "
            "Differences between arms are not differences of the engine; run again with --passes 2."
        )


def drift(by_arm: dict[str, list[float]]) -> Drift | None:
    """The drift of a run from the reference times (seconds) of each arm's trials; None without any."""
    everything = [value for values in by_arm.values() for value in values]
    if not everything:
        return None
    middle = float(np.median(everything))
    medians = [float(np.median(values)) for values in by_arm.values() if values]
    low, high = np.percentile(everything, [5, 95])
    return Drift(middle, max(medians) / min(medians) - 1, float(high / low - 1))
