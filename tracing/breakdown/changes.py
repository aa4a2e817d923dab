"""Which stages take more or less time than before: two sets of budgets compared, with intervals that hold together.

A budget is one replicate's nanoseconds by stage. What a replicate is, is the caller's to say: an engine start where
settings or versions are compared; a block of time (`block_means`) where two traces are, which says nothing of other
starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from probes.console import us
from probes.statistics.intervals import NONE_SEEN
from tracing.breakdown.requests.windowtimes import Budget

Pair = tuple[Sequence[Budget], Sequence[Budget]]
ERROR = 0.05
SMALL = 0.005  # of the larger total: stages below it on both sides are taken together
TOTAL, SMALLER = "all", "smaller stages"
BLOCKS = 8
NAMED = 3  # stages of a sentence
CHANGE_COLUMNS = ("stage", "before", "after", "change", "95 % interval", "verdict")


@dataclass(frozen=True)
class StageChange:
    """The mean time of one stage before and after, and the 95 % interval of their difference; None without replicates.

    The intervals of all stages of one comparison hold together, by Bonferroni.
    """

    stage: str
    before_ns: float
    after_ns: float
    lo_ns: float | None
    hi_ns: float | None

    @property
    def change_ns(self) -> float:
        """By how much it grew."""
        return self.after_ns - self.before_ns

    @property
    def grew(self) -> bool:
        """Whether it takes longer, beyond the interval."""
        return self.lo_ns is not None and self.lo_ns > 0

    @property
    def shrank(self) -> bool:
        """Whether it takes less time, beyond the interval."""
        return self.hi_ns is not None and self.hi_ns < 0

    @property
    def sentence(self) -> str:
        """`schedule +2.00 ms (+1.90 ms to +2.10 ms)`."""
        return f"{self.stage} {self._growth}"

    @property
    def times(self) -> str:
        """`419.84 ms, before 333.44 ms: +86.40 ms (-40.34 ms to +213.13 ms), no difference seen`."""
        seen = "" if self.lo_ns is None or self.grew or self.shrank else f", {NONE_SEEN}"
        return f"{us(self.after_ns)}, before {us(self.before_ns)}: {self._growth}{seen}"

    @property
    def _growth(self) -> str:
        ends = "interval not known" if self.lo_ns is None else f"{signed(self.lo_ns)} to {signed(self.hi_ns)}"
        return f"{signed(self.change_ns)} ({ends})"


def changes_sentence(stages: Sequence[StageChange]) -> str:
    """The largest changes that are beyond their intervals; where there is none, that it is so, and the largest."""
    clear = [stage for stage in stages if stage.grew or stage.shrank]
    largest = ", ".join(stage.sentence for stage in (clear or stages)[:NAMED])
    return largest if clear else f"no stage can be said to have changed; the largest changes: {largest}"


def change_cells(change: StageChange) -> list[str]:
    """A change as `CHANGE_COLUMNS` has it."""
    ends = "n/a" if change.lo_ns is None else f"{us(change.lo_ns)} to {us(change.hi_ns)}"
    verdict = "grew" if change.grew else "shrank" if change.shrank else ""
    return [change.stage, us(change.before_ns), us(change.after_ns), us(change.change_ns), ends, verdict]


def signed(ns: float | None) -> str:
    """`+2.00 ms`."""
    return us(ns) if ns is None or ns < 0 else f"+{us(ns)}"


def stage_changes(pairs: Sequence[Pair]) -> list[StageChange]:
    """The change of the whole (`TOTAL`) and of every stage, the largest first; empty without budgets on both sides.

    Each pair is what differs in nothing but the question, before and after; over several the change is their mean.
    The variance is pooled over all sides: Student's t with replicates - sides degrees of freedom.

    | before                   | after                      | first rows                          |
    | ------------------------ | -------------------------- | ----------------------------------- |
    | schedule 1, forward 50   | schedule 3, forward 50     | all 51 → 53, schedule 1 → 3         |
    """
    kept = [pair for pair in pairs if pair[0] and pair[1]]
    if not kept:
        return []
    names, sides = _table(kept)
    before, after = (np.mean([side.mean(axis=0) for side in sides[place::2]], axis=0) for place in (0, 1))
    half = _half_width(sides)
    changes = [
        StageChange(name, *map(float, (start, end)), *((None, None) if half is None else _ends(end - start, half[i])))
        for i, (name, start, end) in enumerate(zip(names, before, after, strict=True))
    ]
    return [changes[0], *sorted(changes[1:], key=lambda change: -abs(change.change_ns))]


def _ends(change: float, half: float) -> tuple[float, float]:
    return float(change - half), float(change + half)


def _table(pairs: Sequence[Pair]) -> tuple[list[str], list[np.ndarray]]:
    """Names of columns, the total's first, and the budgets of each side, before and after in turns, as arrays."""
    budgets = [side for pair in pairs for side in pair]
    names = list(dict.fromkeys(name for side in budgets for each in side for name in each))
    sides = [np.array([[each.get(name, 0.0) for name in names] for each in side], dtype=float) for side in budgets]
    means = np.stack([side.mean(axis=0) for side in sides])
    large = (means >= SMALL * means.sum(axis=1).max()).any(axis=0)
    columns = [TOTAL, *(name for name, is_large in zip(names, large, strict=True) if is_large)]
    parts = [[side.sum(axis=1, keepdims=True), side[:, large]] for side in sides]
    if not large.all():
        columns.append(SMALLER)
        parts = [[*part, side[:, ~large].sum(axis=1, keepdims=True)] for part, side in zip(parts, sides, strict=True)]
    return columns, [np.hstack(part) for part in parts]


def _half_width(sides: Sequence[np.ndarray]) -> np.ndarray | None:
    """Half of the interval of each column's mean change (columns,); None where nothing is replicated."""
    degrees = sum(len(side) - 1 for side in sides)
    if not degrees:
        return None
    variance = sum(((side - side.mean(axis=0)) ** 2).sum(axis=0) for side in sides) / degrees
    pairs, columns = len(sides) // 2, sides[0].shape[1]
    error = np.sqrt(variance * sum(1 / len(side) for side in sides)) / pairs
    return np.asarray(float(stdtrit(degrees, 1 - ERROR / (2 * columns))) * error)


def block_means(budgets: Sequence[Budget], count: int = BLOCKS) -> list[Budget]:
    """The means of `count` blocks of budgets that follow one another, of steps as a rule: neighbours are alike, blocks
    hardly are. Fewer budgets than blocks stay as they are."""
    if len(budgets) <= count:
        return list(budgets)
    names = list(dict.fromkeys(name for each in budgets for name in each))
    rows = np.array([[each.get(name, 0.0) for name in names] for each in budgets], dtype=float)
    return [dict(zip(names, part.mean(axis=0).tolist(), strict=True)) for part in np.array_split(rows, count)]
