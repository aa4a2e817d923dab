"""The variance of starts is shared by all arms and cells, but for a cell, or an arm, whose starts scatter more.

A cell that scatters more than the variance pooled over all cells would lead one to expect has its own, which its arms
share. An arm has its own where it has four starts or more, and they scatter more than those of the others in the same
cell: compared with the pooled variance, each arm of a noisy cell would seem to scatter more than the others.

Squares of residuals are told apart by arm as by C. R. Rao's MINQUE; degrees of freedom by Satterthwaite (1946). The
critical value stays the common one: Bonferroni's, for the two or three degrees of freedom of one arm, would let next to
nothing be found, and false alarms of equal arms stay at 5 % without it. What is left of them in noisy cells and arms,
of one run and of two compared (where an arm's starts are those in both), is in `tests/bench/differences.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import chdtri, fdtri

from offline.differences.leastsquares import Fit, dummies

FEWEST = 4  # starts of an arm, below which its own variance is too doubtful to be used
# How often an arm, or a cell, that scatters as the others do is given a variance of its own. A cell somewhat more often
# where trials scatter more than starts, since the pooled variance is taken as known: that costs power, not honesty.
ALIKE = 0.1


@dataclass(frozen=True)
class StartVariances:
    """The variance of a start's mean by arm (..., arms), and whether it is the arm's own; else it is shared by arms."""

    fit: Fit
    variances: np.ndarray
    own: np.ndarray
    own_df: np.ndarray  # (arms,)
    shared_df: np.ndarray  # (...)

    def of_contrasts(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Variance and degrees of freedom (..., contrasts) of the estimates of some contrasts (contrasts, arms)."""
        of_arm = dummies(self.fit.alike, vectors.shape[1])
        parts = self.variances[..., None, :] * ((vectors @ self.fit.estimator) ** 2 @ of_arm)
        variance = parts.sum(axis=-1)
        own = np.where(self.own[..., None, :], parts, 0.0)
        shared_df = self.shared_df[..., None]
        doubt = (variance - own.sum(axis=-1)) ** 2 / shared_df + (own**2 / self.own_df).sum(axis=-1)
        alone = own.any(axis=-1)
        return variance, np.where(alone, variance**2 / np.where(alone, doubt, 1.0), shared_df)


def start_variances(fit: Fit, pooled: np.ndarray, pooled_df: int) -> StartVariances:
    """The variances of a fit's arms; `pooled` (...) is that of the starts of all arms in all cells."""
    of_arm = dummies(fit.alike, len(fit.estimator))
    own_df = np.maximum(np.diag(fit.left) @ of_arm, np.finfo(float).eps)
    mixed = of_arm.T @ fit.left**2 @ of_arm  # the squares of an arm's residuals hold something of the others' variance
    own = (fit.residuals**2 @ of_arm) @ np.linalg.pinv(mixed).T
    others_df = np.maximum(fit.start_df - own_df, np.finfo(float).eps)
    others = (fit.start_df * fit.start_ms[..., None] - own_df * own) / others_df  # in this cell, however noisy it is
    many = of_arm.sum(axis=0) >= FEWEST
    noisy = fit.start_ms > chdtri(fit.start_df, ALIKE) / fit.start_df * pooled
    shared = np.where(noisy, fit.start_ms, pooled)
    apart = many & (fit.start_df - own_df >= 1) & (own > fdtri(own_df, others_df, 1 - ALIKE) * others)
    apart &= own > shared[..., None]
    variances = np.where(apart, own, shared[..., None])
    return StartVariances(fit, variances, apart, own_df, np.where(noisy, fit.start_df, pooled_df))
