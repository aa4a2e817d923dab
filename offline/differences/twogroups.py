"""Two groups of starts: a state that an engine falls into at its start and keeps, such as 26 or 33 tok/s."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from offline.differences.observations import Levels, Observations

FEWEST = 6  # starts of an arm, below which two groups cannot be told from chance
ERROR = 0.05
DRAWS = 40_000
SEED = 20260102


@dataclass(frozen=True)
class TwoGroups:
    """An arm whose starts fall into two groups: the upper over the lower, and the numbers of the starts.

    `of_two`: there is but one other arm, and each start is known only against the one of it that ran beside it.
    """

    arm: Levels
    gap: float  # ratio of the groups' means
    lower: tuple[int, ...]
    upper: tuple[int, ...]
    of_two: bool = False

    def sentence(self) -> str:
        """What a reader must know before the arm's mean."""
        name = " ".join(f"{axis}={level}" for axis, level in self.arm.items())
        lower, upper = (", ".join(map(str, starts)) for starts in (self.lower, self.upper))
        groups = f"{name}: two groups of starts, {self.gap - 1:.0%} apart: starts {lower} and starts {upper}"
        return f"{groups}, or else the other arm's starts beside them" if self.of_two else groups


def two_groups(observations: Observations) -> list[TwoGroups]:
    """The arms of one run with at least `FEWEST` starts that fall into two groups; 5 % false alarms over all arms."""
    levels = level_of_starts(observations)
    each = [np.flatnonzero((observations.arm == arm) & np.isfinite(levels)) for arm in range(len(observations.arms))]
    many = [starts for starts in each if len(starts) >= FEWEST]
    return [split for starts in many if (split := _split(observations, starts, levels[starts], ERROR / len(many)))]


def _split(observations: Observations, starts: np.ndarray, levels: np.ndarray, error: float) -> TwoGroups | None:
    """Two groups among the starts of an arm."""
    order = np.argsort(levels)
    statistic, size = separation(levels[order])
    if statistic <= critical_separation(len(starts), error):
        return None
    lower, upper = order[:size], order[size:]
    numbers = [observations.starts[start] for start in starts]
    return TwoGroups(
        arm=observations.arms[observations.arm[starts[0]]],
        gap=float(np.exp(levels[upper].mean() - levels[lower].mean())),
        lower=tuple(sorted(numbers[i] for i in lower)),
        upper=tuple(sorted(numbers[i] for i in upper)),
        of_two=len(observations.arms) == 2,
    )


def level_of_starts(observations: Observations) -> np.ndarray:
    """How far each start lies from the other arms' in its group, in logarithms; NaN where it has nothing in common.

    It is the median over the visits of a cell in a round, since a state is in all of them, and a step of the machine,
    or a stall, in one. Starts of an only arm are told from their mean, and set beside each other if all were alone.
    """
    logs = observations.part(np.arange(len(observations.arm)), np.flatnonzero(observations.presence.all(axis=0)))
    visits, levels = logs.reshape(len(logs), -1), np.full(len(logs), np.nan)
    alone = len(np.unique(observations.group)) == len(observations.group)
    groups = np.zeros_like(observations.group) if alone else observations.group
    for group in np.unique(groups):
        own = np.flatnonzero(groups == group)
        whole = visits[own][:, np.isfinite(visits[own]).all(axis=0)]
        if len(own) > 1 and whole.size:
            one_arm = len(np.unique(observations.arm[own])) == 1
            of_others = 1.0 if one_arm else len(own) / (len(own) - 1)  # from the mean of all to that of the others
            levels[own] = of_others * np.median(whole - whole.mean(axis=0), axis=1)
    return levels


def separation(ordered: np.ndarray) -> tuple[float, int]:
    """The widest split of sorted values: the distance of two means over the deviation inside, and the lower's size."""
    count = len(ordered)
    splits = []
    for size in range(1, count):
        lower, upper = ordered[:size], ordered[size:]
        inside = ((lower - lower.mean()) ** 2).sum() + ((upper - upper.mean()) ** 2).sum()
        splits.append(((upper.mean() - lower.mean()) / np.sqrt(max(inside / (count - 2), 1e-24)), size))
    return max(splits)


@functools.lru_cache(maxsize=64)
def critical_separation(count: int, error: float) -> float:
    """What `separation` exceeds with probability `error` among `count` normal values, simulated with a fixed seed."""
    draws = np.sort(np.random.default_rng(SEED).standard_normal((DRAWS, count)), axis=1)
    largest = np.zeros(DRAWS)
    for size in range(1, count):
        lower, upper = draws[:, :size], draws[:, size:]
        inside = size * lower.var(axis=1) + (count - size) * upper.var(axis=1)
        largest = np.maximum(largest, (upper.mean(axis=1) - lower.mean(axis=1)) / np.sqrt(inside / (count - 2)))
    return float(np.quantile(largest, 1 - error))
