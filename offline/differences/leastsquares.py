"""Least squares in two strata: trials inside starts, with the rounds as blocks, then starts inside arms, with groups.

Kalibera and Jones, "Rigorous benchmarking in reasonable time" (2013), have the hierarchy of variances; the randomised
block design is R. A. Fisher's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

EPSILON = 1e-9
TURNS = 500


@dataclass(frozen=True)
class Fit:
    """What trials of one cell (or of the mean of some) say of the arms.

    `effects` (..., arms) are the arms' logs, up to a constant in each set of arms that are connected by groups.
    `residuals` (..., starts) are what arm + group leave of the starts' means, with `start_df` degrees of freedom.
    `trial_ms` (...) is the mean square of trials around start + round.
    """

    effects: np.ndarray
    estimable: np.ndarray  # (arms, arms): a contrast k can be estimated where k @ estimable == k
    start_df: int
    trial_ms: np.ndarray
    trial_df: int
    trials: float  # trials a start: the harmonic mean
    alike: np.ndarray  # (starts,): of which arm each is; of two runs that are compared, an arm is the same in both
    estimator: np.ndarray  # (arms, starts): effects = means @ estimator.T
    left: np.ndarray  # (starts, starts): residuals = means @ left.T
    residuals: np.ndarray

    @property
    def start_ms(self) -> np.ndarray:
        """The mean square of the starts' residuals (...): start variance + trial variance / trials, as estimated."""
        return np.asarray((self.residuals**2).sum(axis=-1) / max(self.start_df, 1))

    @property
    def unscaled(self) -> np.ndarray:
        """The covariance of the effects (arms, arms) where the means of starts have variance 1."""
        return np.asarray(self.estimator @ self.estimator.T)

    @property
    def trial_part(self) -> np.ndarray:
        """What the trials add to the variance of a start's mean (...)."""
        return self.trial_ms / self.trials

    def can_estimate(self, contrast: np.ndarray) -> bool:
        """Whether groups connect the arms of a contrast."""
        return bool(np.allclose(contrast @ self.estimable, contrast, atol=EPSILON))


def fit(logs: np.ndarray, arm: np.ndarray, group: np.ndarray, arms: int) -> Fit:
    """Fit logs (..., starts, rounds), which may have gaps (NaN), the same ones in every simulated run."""
    kept = np.flatnonzero(observed(logs).any(axis=1))
    logs, arm, group = logs[..., kept, :], arm[kept], np.unique(group[kept], return_inverse=True)[1]
    means, trial_ms, trial_df, trials = start_means(logs, group)
    design = np.hstack([dummies(arm, arms), dummies(group, int(group.max()) + 1)])
    inverse = np.linalg.pinv(design)
    coefficients = means @ inverse.T
    return Fit(
        effects=coefficients[..., :arms],
        estimable=(inverse @ design)[:arms, :arms],
        start_df=len(arm) - int(np.linalg.matrix_rank(design)),
        trial_ms=trial_ms,
        trial_df=trial_df,
        trials=trials,
        alike=arm,
        estimator=inverse[:arms],
        left=np.eye(len(arm)) - design @ inverse,
        residuals=means - coefficients @ design.T,
    )


def fit_apart(logs: np.ndarray, arm: np.ndarray, arms: int, alike: np.ndarray) -> Fit:
    """Fit logs (..., starts, rounds) of starts that took no turns: nothing is common to them but their arm.

    Those with the same number in `alike` (starts,) scatter alike, though they be of several arms.
    """
    kept = np.flatnonzero(observed(logs).any(axis=1))
    logs, arm = logs[..., kept, :], arm[kept]
    means, counts, design = np.nanmean(logs, axis=-1), observed(logs).sum(axis=1), dummies(arm, arms)
    estimator = np.linalg.pinv(design)
    effects = means @ estimator.T
    trial_df = int((counts - 1).sum())
    trial_squares = np.nansum((logs - means[..., None]) ** 2, axis=(-2, -1))
    return Fit(
        effects=effects,
        estimable=np.eye(arms),
        start_df=len(arm) - arms,
        trial_ms=trial_squares / max(trial_df, 1),
        trial_df=trial_df,
        trials=float(len(arm) / (1 / counts).sum()),
        alike=alike[kept],
        estimator=estimator,
        left=np.eye(len(arm)) - design @ estimator,
        residuals=means - effects[..., arm],
    )


def start_means(logs: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray, int, float]:
    """Means of starts (..., starts) without what is common to a round, by least squares on start + round.

    Where no trial is missing these are plain means less their group's mean, so drift that is common to a round is gone.
    With them: mean square and degrees of freedom of the trials, and trials a start.
    """
    there = observed(logs)
    means, squares, blocks = np.zeros(logs.shape[:-1]), np.zeros(logs.shape[:-2]), 0
    groups = np.unique(group)
    for each in groups:
        rounds = there[group == each].any(axis=0)
        part = logs[..., group == each, :][..., rounds]
        means[..., group == each], residuals = _two_way(part)
        squares += np.nansum(residuals**2, axis=(-2, -1))
        blocks += int(rounds.sum())
    freedom = int(there.sum()) - (len(group) + blocks - len(groups))
    return means, squares / max(freedom, 1), max(freedom, 0), float(len(group) / (1 / there.sum(axis=1)).sum())


def _two_way(logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Effects of the rows (..., rows), of mean zero, and residuals, of logs (..., rows, columns) with gaps.

    Columns' and rows' means are taken out in turns until nothing moves: one turn where there are no gaps.
    """
    effects, residuals = np.zeros(logs.shape[:-1]), logs
    for _ in range(TURNS):
        residuals = residuals - np.nanmean(residuals, axis=-2, keepdims=True)
        moved = np.nanmean(residuals, axis=-1)
        effects, residuals = effects + moved, residuals - moved[..., None]
        if np.abs(moved).max() < EPSILON:
            break
    return effects - effects.mean(axis=-1, keepdims=True), residuals


def observed(logs: np.ndarray) -> np.ndarray:
    """Where there is a trial, shape (starts, rounds)."""
    finite: np.ndarray = np.isfinite(logs).all(axis=tuple(range(logs.ndim - 2)))  # also of no start at all
    return finite


def dummies(numbers: np.ndarray, count: int) -> np.ndarray:
    """Indicator columns: shape (len(numbers), count)."""
    return (numbers[:, None] == np.arange(count)).astype(float)


def start_variance(fits: Sequence[Fit]) -> np.ndarray:
    """The variance between starts (...), pooled over cells: max(0, s² - trial variance / trials).

    Cells with much noise of their own weigh less, by the inverse of the variance of their s², from two rounds of
    weighting: else a few stalls would hide the spread of starts in the cells without one.
    """
    variance = np.zeros_like(fits[0].start_ms)
    trial_parts = np.stack([each.trial_part for each in fits], axis=-1)
    excess = np.stack([each.start_ms for each in fits], axis=-1) - trial_parts
    freedom = np.array([each.start_df for each in fits], dtype=float)
    for _ in range(2):
        weights = freedom / np.maximum(variance[..., None] + trial_parts, np.finfo(float).tiny ** 0.25) ** 2
        variance = np.maximum(0.0, (weights * excess).sum(axis=-1) / np.maximum(weights.sum(axis=-1), EPSILON))
    return variance
