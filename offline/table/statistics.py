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
    """How the fixed kernel moved: its median over the run, the range of the starts' medians, and the trials' spread.

    `in_turns`: engines took turns, so that drift falls out of the differences between them.
    """

    reference_s: float
    starts: float
    trials: float
    in_turns: bool = False
    one_arm: bool = False
    gpu_note: str = ""  # why it is the CPU's, although the engine runs on a GPU
    gpu_clocks: str = ""  # it is the GPU's, and these were its clocks
    cpu: Drift | None = None  # the CPU's, beside that of a GPU

    @property
    def inside(self) -> bool:
        """Whether arms may be compared with each other although they did not take turns."""
        return self.starts <= DRIFT_BOUND

    def sentence(self) -> str:
        """The first line of a table."""
        if self.gpu_note:
            return f"{self._sentence()} GPU drift not measured: {self.gpu_note.rstrip('.')}."
        if self.cpu is None:
            return self._sentence()
        starts = "" if self.one_arm else f"{self.cpu.starts:.1%} between engine starts, "
        beside = f"{self.cpu.reference_s * 1e3:.1f} ms, moved {starts}{self.cpu.trials:.1%} between single trials"
        return f"{self._sentence()} {self.gpu_clocks} On the CPU beside it: {beside}."

    def _sentence(self) -> str:
        where = "" if self.cpu is None else " on the GPU"
        kernel = f"The reference kernel{where} took {self.reference_s * 1e3:.1f} ms and moved"
        trials = f"{self.trials:.1%} between single trials (5th to 95th percentile)"
        if self.one_arm:
            return f"{kernel} {trials}; with one arm, drift between arms is not known."
        starts = f"{kernel} {self.starts:.1%} between engine starts, {trials}."
        if self.in_turns:
            return f"Arms took turns, so that drift falls out of the differences between them. {starts}"
        if self.inside:
            return f"Arms were measured one after another, with drift within {DRIFT_BOUND:.0%}: comparable. {starts}"
        return (
            f"DRIFTED past {DRIFT_BOUND:.0%} while arms were measured one after another: no difference between them is "
            f"claimed; run again on a quieter machine. {starts}"
        )


def drift(by_start: dict[str, list[float]], in_turns: bool = False, one_arm: bool = False) -> Drift | None:
    """The drift of a run from the reference times (seconds) of each start's trials; None without any."""
    everything = [value for values in by_start.values() for value in values]
    if not everything:
        return None
    middle = float(np.median(everything))
    medians = [float(np.median(values)) for values in by_start.values() if values]
    low, high = np.percentile(everything, [5, 95])
    return Drift(middle, max(medians) / min(medians) - 1, float(high / low - 1), in_turns, one_arm)
