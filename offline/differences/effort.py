"""Where further effort goes: trials a start, more starts, and when an adaptive run may stop."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from offline.differences.analysis import estimate
from offline.differences.estimates import Contrast
from offline.differences.leastsquares import fit, start_variance
from offline.differences.observations import Observations

MOST_TRIALS = 20
STATE, WARM = "cache_state", "warm"  # of cells that only arms with prefix caching have


@dataclass(frozen=True)
class Spread:
    """Standard deviations, in logarithms, of starts of an arm and of trials inside a start, over all cells."""

    start: float
    trial: float


def spread(observations: Observations) -> Spread:
    """How one run's starts and trials scatter: start variance = max(0, s² - trial variance / trials)."""
    fits = []
    for starts, cells in observations.classes():
        arms, number = np.unique(observations.arm[starts], return_inverse=True)
        logs = observations.part(starts, cells)
        fits += [fit(logs[..., i], number, observations.group[starts], len(arms)) for i in range(len(cells))]
    freedom = sum(each.trial_df for each in fits)
    trial = sum(each.trial_df * float(each.trial_ms) for each in fits) / max(freedom, 1)
    return Spread(math.sqrt(float(start_variance(fits))), math.sqrt(trial))


def trials_a_start(start_cost_s: float, pass_cost_s: float, scatter: Spread) -> int:
    """r = √(cost of a start / cost of a pass over the arm's cells · trial variance / start variance), 2 to 20.

    It makes the variance of an arm's mean smallest for the time spent (Kalibera and Jones 2013, section 6.2; their
    printed formula for the total T is wrong, the ratio of costs and variances is not).
    """
    if scatter.start == 0:
        return MOST_TRIALS
    best = math.sqrt(start_cost_s / pass_cost_s) * scatter.trial / scatter.start
    return min(MOST_TRIALS, max(2, round(best)))


def widest_main(observations: Observations) -> float:
    """Half of the widest interval of a main effect, as a share: 0.03 is ± 3 %; infinite where there is none.

    A run may stop as soon as this is small enough. The rule sees widths alone and no difference, and false alarms of
    runs that stop by it stay below 5 % in simulation (`tests/bench/differences.py`): no error is spent on looks.
    """
    return max((width for _, width in _main_widths(observations)), default=math.inf)


def only_warm(observations: Observations, until: float) -> bool:
    """Whether some main effects are not known within ± `until`, and all of these are of warm cells."""
    wide = [contrast for contrast, width in _main_widths(observations) if width > until]
    return bool(wide) and all(each.axis == STATE or f"{STATE}={WARM}" in each.cell.split() for each in wide)


def _main_widths(observations: Observations) -> Iterator[tuple[Contrast, float]]:
    """The main effects, each with half of its interval as a share."""
    if estimates := estimate(observations):
        for contrast, half_width in zip(estimates.contrasts, estimates.half_width, strict=True):
            if contrast.main:
                yield contrast, float(np.expm1(half_width))
