"""Contrasts with their estimates, and the smallest true difference that a run could have found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from offline.differences.simultaneous import chi_squared

POWER = 0.8
QUANTILES = 500
BISECTIONS = 40


@dataclass(frozen=True)
class Contrast:
    """What is compared: two levels of an axis, in a cell or (`main`) averaged over the others.

    `pair` numbers the two arms and the cell where it is nothing but that.
    """

    axis: str
    before: str
    after: str
    cell: str
    main: bool
    pair: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Estimates:
    """Contrasts in logarithms, shape (..., contrasts).

    An interval is log_ratio ± (critical · standard_error + allowance), where the allowance is what the machine itself
    may have moved between measurements that took no turns.
    """

    contrasts: tuple[Contrast, ...]
    log_ratio: np.ndarray
    standard_error: np.ndarray
    degrees: np.ndarray
    critical: np.ndarray
    allowance: np.ndarray | float = 0.0

    @property
    def half_width(self) -> np.ndarray:
        """Half of the simultaneous interval, in logarithms."""
        return self.critical * self.standard_error + self.allowance

    @property
    def significant(self) -> np.ndarray:
        """Whether the interval leaves out "no difference"."""
        return np.abs(self.log_ratio) > self.half_width

    def smallest_detectable(self) -> np.ndarray:
        """δ with P(|t'(δ / SE)| > c) = 0.8, in logarithms (...): t' is Student's noncentral t.

        SE is an estimate whose square is skewed: its median is set right, by the median of χ² over its degrees.
        """
        pairs = np.stack([self.degrees.ravel().round(1), self.critical.ravel().round(2)])
        kinds, number = np.unique(pairs, axis=1, return_inverse=True)
        factors = _noncentrality(*kinds) / np.sqrt(chi_squared(0.5, kinds[0]) / kinds[0])
        return factors[number.ravel()].reshape(self.degrees.shape) * self.standard_error + self.allowance


def _noncentrality(degrees: np.ndarray, critical: np.ndarray) -> np.ndarray:
    """The noncentrality (n,) at which |t'| is above `critical` in `POWER` of all runs.

    Given the deviation u = √(χ² / df), t' is above c with probability Φ(λ - c·u); u is integrated by quantiles.
    """
    shares = (np.arange(QUANTILES) + 0.5) / QUANTILES
    bounds = critical[:, None] * np.sqrt(chi_squared(shares, degrees[:, None]) / degrees[:, None])
    low, high = np.zeros(len(degrees)), 20 * critical + 20
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        power = (ndtr(middle[:, None] - bounds) + ndtr(-middle[:, None] - bounds)).mean(axis=1)
        low, high = np.where(power < POWER, middle, low), np.where(power < POWER, high, middle)
    return high


def joined(parts: Sequence[Estimates]) -> Estimates:
    """The estimates of several strata in one."""
    return Estimates(
        contrasts=tuple(contrast for part in parts for contrast in part.contrasts),
        **{
            name: np.concatenate([getattr(part, name) for part in parts], axis=-1)
            for name in ("log_ratio", "standard_error", "degrees", "critical")
        },
    )


def best_arms(estimates: Estimates, more_is_better: bool) -> set[tuple[int, int]]:
    """(arm, cell) of the best arm of each cell and of all arms that tie with it, by their numbers; of one run.

    A best arm beats the runner-up beyond the interval, or stands beside all that tie.
    """
    sign = 1 if more_is_better else -1
    tied = set()
    for cell in {contrast.pair[2] for contrast in estimates.contrasts if contrast.pair}:
        numbered = [(i, each.pair) for i, each in enumerate(estimates.contrasts) if each.pair]
        pairs = [(i, pair[0], pair[1]) for i, pair in numbered if pair[2] == cell]
        gains = [(sign * float(estimates.log_ratio[i]), before, after) for i, before, after in pairs]
        arms = {arm for _, *both in pairs for arm in both}
        beaten = {before if gain > 0 else after for gain, before, after in gains}
        (best, *_) = sorted(arms - beaten) or sorted(arms)
        differing = {frozenset(both) for i, *both in pairs if bool(np.asarray(estimates.significant)[i])}
        tied |= {(arm, cell) for arm in arms if arm == best or frozenset((arm, best)) not in differing}
    return tied
