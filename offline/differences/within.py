"""Differences inside starts (batch size, cache state, lengths): taken in each start, pooled over arms.

The cells of a round are visited one after another, in an order that is drawn anew, so that drift makes the difference
between two cells vary from round to round, and alike in all starts of a group. Hence two sources of error, starts and
rounds, are estimated apart and added; the trials' own spread is in both, which is never too narrow.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from offline.differences.estimates import Contrast, Estimates
from offline.differences.leastsquares import observed
from offline.differences.observations import Observations, levels, shared_label, varied
from offline.differences.simultaneous import bonferroni

TINY = 1e-30  # below any variance of logarithms: keeps a difference without spread from being divided by nothing


def within(observations: Observations, error: float) -> Estimates | None:
    """Differences between cells, whose intervals hold together by Bonferroni; None without replicates.

    Degrees of freedom by Satterthwaite, "An approximate distribution of estimates of variance components" (1946).
    """
    parts = [(contrast, part) for contrast, pairs in _contrasts(observations) if (part := _pooled(observations, pairs))]
    if not parts:
        return None
    log_ratio, variance, degrees = (np.stack([part[i] for _, part in parts], axis=-1) for i in range(3))
    return Estimates(
        contrasts=tuple(contrast for contrast, _ in parts),
        log_ratio=log_ratio,
        standard_error=np.sqrt(variance),
        degrees=degrees,
        critical=bonferroni(len(parts), degrees, error),
    )


def _contrasts(observations: Observations) -> Iterator[tuple[Contrast, list[tuple[int, int]]]]:
    """What is compared, main effects first, and its pairs of cells, all of which the same arms have."""
    cells = observations.cells
    singles: list[tuple[Contrast, list[tuple[int, int]]]] = []
    for axis in varied(cells) if cells else []:
        for before, after in itertools.combinations(levels(axis, cells), 2):
            for pairs in _alike(observations, axis, before, after):
                words = (axis, str(before), str(after))
                yield Contrast(*words, shared_label([cells[i] for pair in pairs for i in pair], cells), True), pairs
                if len(pairs) > 1:
                    singles += [
                        (Contrast(*words, shared_label([cells[i] for i in pair], cells), False), [pair])
                        for pair in pairs
                    ]
    yield from singles


def _alike(observations: Observations, axis: str, before: object, after: object) -> list[list[tuple[int, int]]]:
    """Pairs of cells that differ in `axis` alone, by the arms that have both."""
    cells, arm_cells = observations.cells, observations.arm_cells
    by_arms: dict[bytes, list[tuple[int, int]]] = {}
    for i, j in itertools.permutations(range(len(cells)), 2):
        if varied([cells[i], cells[j]]) == [axis] and (cells[i][axis], cells[j][axis]) == (before, after):
            both = arm_cells[:, i] & arm_cells[:, j]
            if both.any():
                by_arms.setdefault(both.tobytes(), []).append((i, j))
    return list(by_arms.values())


def _pooled(
    observations: Observations, pairs: list[tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Estimate, variance and degrees of freedom (...) of the mean difference; None without replicates."""
    before, after = (np.array(cells) for cells in zip(*pairs, strict=True))
    starts = np.flatnonzero(observations.presence[:, [*before, *after]].all(axis=1))
    rounds = (observations.part(starts, after) - observations.part(starts, before)).mean(axis=-1)
    there = observed(rounds).any(axis=1)
    starts, rounds = starts[there], rounds[..., there, :]  # (..., starts, rounds)
    arms, number, counts = np.unique(observations.arm[starts], return_inverse=True, return_counts=True)
    blocks = _round_count(rounds, observations.group[starts])
    if len(starts) == len(arms) or blocks < 2:
        return None
    means = np.nanmean(rounds, axis=-1)
    effects = np.stack([means[..., number == arm].mean(axis=-1) for arm in range(len(arms))], axis=-1)
    start_df, round_df = len(starts) - len(arms), blocks - 1
    start_ms = ((means - effects[..., number]) ** 2).sum(axis=-1) / start_df
    of_starts = start_ms * (1 / counts).sum() / len(arms) ** 2
    of_rounds = _round_ms(rounds - effects[..., number][..., None], observations.group[starts]) / blocks
    variance = np.maximum(of_starts + of_rounds, TINY)
    degrees = variance**2 / np.maximum(of_starts**2 / start_df + of_rounds**2 / round_df, TINY**2)
    return effects.mean(axis=-1), variance, degrees


def _round_count(logs: np.ndarray, groups: np.ndarray) -> int:
    """How many rounds there are, over all groups, of logs (..., starts, rounds)."""
    there = observed(logs)
    return sum(int(there[groups == group].any(axis=0).sum()) for group in np.unique(groups))


def _round_ms(logs: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The variance (...) of the rounds' means over starts, over all groups."""
    means = []
    for group in np.unique(groups):
        part = logs[..., groups == group, :]
        means.append(np.nanmean(part[..., observed(part).any(axis=0)], axis=-2))
    return np.concatenate(means, axis=-1).var(axis=-1, ddof=1)
