"""The slope of a stage: by how much a step grows for each nanosecond of delay, with an interval.

A pair is a block with a delay between two without. Other work on the machine makes single blocks late, with and without
a delay alike, so the estimate is that of J. Hodges and E. Lehmann (1963): the median of all means of two pairs. Its
interval is the one that belongs to Wilcoxon's signed-rank test, which asks only that the pairs' errors are symmetric.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probes.statistics.intervals import Estimate

ERROR = 0.05  # of all intervals together (C. Bonferroni)


@dataclass(frozen=True)
class BlockPair:
    """A block with a delay against those before and after it, a step: what it grew by, and the delay that was made."""

    effect_ns: float
    achieved_ns: float


@dataclass(frozen=True)
class SizedSlope:
    """The slope at one size of the delay; `achieved_ns` is what was made of it, a step, on the mean."""

    achieved_ns: float
    slope: Estimate
    pairs: int

    @property
    def effect(self) -> Estimate:
        """What a step grew by, in ns."""
        low, high = (None if end is None else end * self.achieved_ns for end in (self.slope.low, self.slope.high))
        return Estimate(self.achieved_ns * self.slope.value, low, high)

    @property
    def hidden(self) -> Estimate:
        """The part of the delay that did not show, in ns a step."""
        low, high = self.slope.low, self.slope.high
        return Estimate(
            self.achieved_ns * (1 - self.slope.value),
            None if high is None else self.achieved_ns * (1 - high),
            None if low is None else self.achieved_ns * (1 - low),
        )


@dataclass(frozen=True)
class StageSlope:
    """What a stage's delays did: the slope before the answer bends, and where that is (None: it does not bend)."""

    slope: Estimate
    hidden_up_to_ns: Estimate | None
    sizes: tuple[SizedSlope, ...]


def least_pairs(intervals: int) -> int:
    """How many pairs each of so many intervals needs to exist: the surest interval of n misses by 2 / 2ⁿ."""
    return math.ceil(math.log2(2 * intervals / ERROR))


def center(values: Sequence[float], intervals: int = 1) -> Estimate:
    """The Hodges-Lehmann estimate, with its interval as one of so many that all hold in 95 of 100 cases.

    The ends are None where there are too few values.
    """
    sample = np.asarray(values, dtype=float)
    first, second = np.triu_indices(len(sample))
    means = np.sort((sample[first] + sample[second]) / 2)
    outside = int(np.searchsorted(_signed_ranks(len(sample)), ERROR / intervals / 2, side="right"))
    value = float(np.median(means))
    if not outside:
        return Estimate(value, None, None)
    return Estimate(value, float(means[outside - 1]), float(means[-outside]))


def _signed_ranks(n: int) -> np.ndarray:
    """P(T ≤ t) for t from 0 on, where T is the sum of those of the ranks 1 to n that a fair coin picks."""
    chances = np.ones(1)
    for rank in range(1, n + 1):
        chances = (np.pad(chances, (0, rank)) + np.pad(chances, (rank, 0))) / 2
    return np.cumsum(chances)


def sized_slope(pairs: Sequence[BlockPair], intervals: int = 1) -> SizedSlope:
    """The slope at one size, out of its pairs."""
    slope = center([pair.effect_ns / pair.achieved_ns for pair in pairs], intervals)
    return SizedSlope(float(np.mean([pair.achieved_ns for pair in pairs])), slope, len(pairs))


def stage_slope(sizes: Sequence[SizedSlope]) -> StageSlope:
    """The slope at the largest size up to which no two differ, that is, have intervals apart.

    | size, slope                                  | slope       | hidden up to      |
    | -------------------------------------------- | ----------- | ----------------- |
    | 1 ms 0.9 to 1.1, 4 ms 0.98 to 1.02           | 0.98 - 1.02 | None              |
    | 1 ms -0.2 to 0.2, 4 ms 0.45 to 0.55          | -0.2 - 0.2  | 2 ms (1.8 to 2.2) |
    """
    ordered = sorted(sizes, key=lambda size: size.achieved_ns)
    before = [ordered[0]]
    for size in ordered[1:]:
        if any(differ(size.slope, other.slope) for other in before):
            return StageSlope(before[-1].slope, end_of_hiding(*ordered[-2:]), tuple(ordered))
        before.append(size)
    return StageSlope(before[-1].slope, None, tuple(ordered))


def end_of_hiding(smaller: SizedSlope, larger: SizedSlope) -> Estimate:
    """Up to which delay nothing would show, in ns, by the two largest delays: the part of the largest that did not.

    What a delay costs beyond that may be more than itself, as one that spins takes a processor from others. Then the
    line through the two, which is steeper, meets zero at more, and that is taken. The interval holds where those of the
    two slopes do.

    | of 1 ms, 4 ms show | by the largest | by the line | hidden up to |
    | ------------------ | -------------- | ----------- | ------------ |
    | 0.0, 2.0 ms        | 2 ms           | 1 ms        | 2 ms         |
    | 0.5, 3.5 ms        | 0.5 ms         | 0.5 ms      | 0.5 ms       |
    | 0.6, 4.2 ms        | -0.2 ms        | 0.5 ms      | 0.5 ms       |
    """
    one, other, hidden = smaller.effect, larger.effect, larger.hidden
    apart_ns = larger.achieved_ns - smaller.achieved_ns

    def zero(at_smaller: float, at_larger: float) -> float:
        shown = max(at_smaller, 0.0)
        return smaller.achieved_ns - shown * apart_ns / (at_larger - shown) if at_larger > shown else -math.inf

    value = max(hidden.value, zero(one.value, other.value))
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return Estimate(value, None, None)
    assert hidden.low is not None and hidden.high is not None
    return Estimate(value, max(hidden.low, zero(one.high, other.low)), max(hidden.high, zero(one.low, other.high)))


def differ(one: Estimate, other: Estimate) -> bool:
    """Whether two intervals lie apart."""
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.low > other.high or other.low > one.high
