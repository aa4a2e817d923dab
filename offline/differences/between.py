"""Differences between arms: the replicate is a start, and differences are taken inside groups, round by round."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from offline.differences.estimates import Contrast, Estimates
from offline.differences.leastsquares import Fit, fit, start_variance
from offline.differences.observations import Levels, Observations, joined_levels, levels, shared_label, varied
from offline.differences.ownvariance import start_variances
from offline.differences.simultaneous import multivariate_t


@dataclass(frozen=True)
class Comparison:
    """Some contrasts of the arms of one fit."""

    fit: Fit
    contrasts: tuple[Contrast, ...]
    vectors: np.ndarray  # (contrasts, arms)

    def correlation(self) -> np.ndarray:
        """The correlation matrix of the contrasts."""
        covariance = self.vectors @ self.fit.unscaled @ self.vectors.T
        scale = np.sqrt(np.diag(covariance))
        return np.asarray(covariance / np.outer(scale, scale))


def between(observations: Observations, error: float) -> Estimates | None:
    """Differences between arms, whose intervals hold together with probability 1 - `error`; None without replicates.

    Main effects come first: an axis of the arms averaged over the others, and over the cells that the same arms have.
    Then, in every cell, all pairs of arms. The variance between starts is pooled over arms and cells, with the degrees
    of freedom of the starts, since cells of one start are correlated; what the trials add is each cell's own. A cell
    that scatters more than the others has a variance of its own, and so has an arm of four starts or more that
    scatters more than the others in its cell.
    """
    mains = [main for starts, cells in observations.classes() for main in _mains(observations, starts, cells)]
    pairs = [pair for starts, cells in observations.classes() for pair in _pairs(observations, starts, cells)]
    return simultaneous(mains, pairs, error)


def simultaneous(mains: Sequence[Comparison], pairs: Sequence[Comparison], error: float) -> Estimates | None:
    """The estimates of main effects and of single cells, with intervals that hold together; None without replicates."""
    comparisons = [*mains, *pairs]
    degrees = max((each.fit.start_df for each in comparisons), default=0)
    if not degrees:
        return None
    critical = multivariate_t([each.correlation() for each in comparisons], degrees, error)
    parts = [part for strata in (mains, pairs) if strata for part in _estimated(strata, degrees)]
    log_ratio, variance, freedom = (np.concatenate(each, axis=-1) for each in zip(*parts, strict=True))
    return Estimates(
        contrasts=tuple(contrast for each in comparisons for contrast in each.contrasts),
        log_ratio=log_ratio,
        standard_error=np.sqrt(variance),
        degrees=freedom,
        critical=np.full(log_ratio.shape, critical),
    )


def _estimated(comparisons: Sequence[Comparison], degrees: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Estimates, their variances and degrees of freedom (..., contrasts) of each comparison.

    The variance of starts is pooled over all of them, but for cells and arms that have one of their own.
    """
    pooled = start_variance([each.fit for each in comparisons])
    for each in comparisons:
        variances = start_variances(each.fit, pooled + each.fit.trial_part, degrees)
        yield each.fit.effects @ each.vectors.T, *variances.of_contrasts(each.vectors)


def _mains(observations: Observations, starts: np.ndarray, cells: np.ndarray) -> Iterator[Comparison]:
    """The main effects of a class of cells, from the mean over its cells."""
    arms, number = np.unique(observations.arm[starts], return_inverse=True)
    means = fit(observations.part(starts, cells).mean(axis=-1), number, observations.group[starts], len(arms))
    label = shared_label([observations.cells[cell] for cell in cells], observations.cells)
    vectors = _main_vectors([observations.arms[arm] for arm in arms], label)
    if len(cells) == 1:
        vectors = [(_with_pair(contrast, vector, arms, cells[0]), vector) for contrast, vector in vectors]
    yield from _comparison(means, vectors)


def _pairs(observations: Observations, starts: np.ndarray, cells: np.ndarray) -> Iterator[Comparison]:
    """All pairs of arms in each cell of a class, but for those that a main effect already is."""
    arms, number = np.unique(observations.arm[starts], return_inverse=True)
    settings, logs = [observations.arms[arm] for arm in arms], observations.part(starts, cells)
    mains = [vector.tolist() for _, vector in _main_vectors(settings, "")] if len(cells) == 1 else []
    for position, cell in enumerate(cells):
        single = fit(logs[..., position], number, observations.group[starts], len(arms))
        label = shared_label([observations.cells[cell]], observations.cells)
        vectors = [each for each in _pair_vectors(settings, observations.arms, label) if each[1].tolist() not in mains]
        yield from _comparison(single, [(_with_pair(each, vector, arms, cell), vector) for each, vector in vectors])


def _with_pair(contrast: Contrast, vector: np.ndarray, arms: np.ndarray, cell: int) -> Contrast:
    """The contrast with the numbers of its two arms and its cell, where there are no more than two arms in it."""
    if np.count_nonzero(vector) != 2:
        return contrast
    return replace(contrast, pair=(int(arms[vector.argmin()]), int(arms[vector.argmax()]), int(cell)))


def _comparison(means: Fit, vectors: Sequence[tuple[Contrast, np.ndarray]]) -> Iterator[Comparison]:
    kept = [each for each in vectors if means.start_df and means.can_estimate(each[1])]
    if kept:
        yield Comparison(means, tuple(contrast for contrast, _ in kept), np.array([vector for _, vector in kept]))


def _main_vectors(arms: Sequence[Levels], cell: str) -> list[tuple[Contrast, np.ndarray]]:
    """Each axis of the arms, from level to level: the mean over pairs of arms that differ in nothing else."""
    vectors = []
    for axis in varied(arms):
        for before, after in itertools.combinations(levels(axis, arms), 2):
            pairs = [
                (i, j)
                for i, j in itertools.permutations(range(len(arms)), 2)
                if varied([arms[i], arms[j]]) == [axis] and (arms[i][axis], arms[j][axis]) == (before, after)
            ]
            if pairs:
                vector = sum(_difference(i, j, len(arms)) for i, j in pairs) / len(pairs)
                vectors.append((Contrast(axis, str(before), str(after), cell, True), np.asarray(vector)))
    return vectors


def _pair_vectors(
    arms: Sequence[Levels], everything: Sequence[Levels], cell: str
) -> Iterator[tuple[Contrast, np.ndarray]]:
    for i, j in itertools.combinations(range(len(arms)), 2):
        axes = varied([arms[i], arms[j]])
        rest = shared_label([arms[i], arms[j]], everything)
        label = " ".join(word for word in (cell, rest) if word != "all") or "all"
        contrast = Contrast("+".join(axes), joined_levels(arms[i], axes), joined_levels(arms[j], axes), label, False)
        yield contrast, _difference(i, j, len(arms))


def _difference(i: int, j: int, count: int) -> np.ndarray:
    vector = np.zeros(count)
    vector[i], vector[j] = -1.0, 1.0
    return vector
