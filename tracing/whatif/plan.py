"""The plan of a measurement: how large the delays are, how long a block lasts, and in which order they come."""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from probes.console import us
from tracing.whatif.blocks import Treatment
from tracing.whatif.slopes import least_pairs
from tracing.whatif.stages import DelayedStage, asleep

SHARES = (0.05, 0.1, 0.2, 0.4, 0.8)  # of a step
LEAST_NS = 200_000
BLOCK_STEPS, LEAST_BLOCK_S = 40, 0.25
NS_PER_S = 1e9


@dataclass(frozen=True)
class MeasurementPlan:
    """The delays of each stage, and the length of a block; `rounds` is how often each delay has its turn, and
    `more_rounds` how often the largest of each stage has one besides."""

    treatments: tuple[Treatment, ...]
    sizes_ns: tuple[int, ...]
    block_s: float
    rounds: int
    more_rounds: int = 0
    left_out_ns: tuple[int, ...] = ()  # sizes for which there is no time
    whole_s: float = 0.0  # a budget with room for all sizes

    @property
    def stages(self) -> list[DelayedStage]:
        """Those that are delayed."""
        return list(dict.fromkeys(treatment.stage for treatment in self.treatments))

    @property
    def largest(self) -> list[Treatment]:
        """The largest delay of each stage."""
        return [each for each in self.treatments if each.length_ns == self.sizes_ns[-1]]

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return 2 * self.block_s * (self.rounds * len(self.treatments) + self.more_rounds * len(self.largest))

    @property
    def left_out(self) -> str:
        """What there was no time for, in a sentence; '' for nothing."""
        if not self.left_out_ns:
            return ""
        sizes = ", ".join(us(size) for size in self.left_out_ns)
        return f"delays of {sizes} had no time: --budget {math.ceil(self.whole_s)} has room for them"

    def turns(self, seed: int) -> list[Treatment]:
        """All turns, in a random order."""
        every = [*self.treatments] * self.rounds + self.largest * self.more_rounds
        return random.Random(seed).sample(every, len(every))

    def lacking(self, pairs: Mapping[Treatment, int]) -> MeasurementPlan:
        """A round of the delays that gave fewer pairs than an interval needs, though they had turns enough."""
        least = least_pairs(len(self.treatments))
        short = [each for each in self.treatments if self.rounds >= least and pairs.get(each, 0) < least]
        return replace(self, treatments=tuple(short), rounds=1, more_rounds=0)

    def asleep(self, stages: Collection[str]) -> MeasurementPlan:
        """The largest delay of some of the stages once more, asleep, as often as intervals need."""
        chosen = [each for each in self.largest if each.stage.name in stages]
        treatments = tuple(replace(each, stage=asleep(each.stage)) for each in chosen)
        return replace(self, treatments=treatments, rounds=least_pairs(len(self.treatments)), more_rounds=0)


def sizes(step_ns: float, shares: Sequence[float] = SHARES) -> list[int]:
    """5, 10, 20, 40 and 80 % of a step, but no less than 200 µs.

    | step    | sizes                           |
    | ------- | ------------------------------- |
    | 10 ms   | 0.5, 1, 2, 4 and 8 ms           |
    | 3 ms    | 0.2, 0.3, 0.6, 1.2 and 2.4 ms   |
    | 0.2 ms  | 0.2 ms                          |
    """
    return sorted({max(LEAST_NS, round(share * step_ns)) for share in shares})


def plan(
    stages: Sequence[DelayedStage],
    step_ns: float,
    budget_s: float,
    shares: Sequence[float] = SHARES,
    least_block_s: float = LEAST_BLOCK_S,
) -> MeasurementPlan:
    """What fits into a time: each size takes a turn often enough for intervals, else the smallest, which tell the
    least, are left out; the largest is always there, and has half of the turns as far as the others have enough.

    A turn is a block with a delay and one without.
    """
    ladder = sizes(step_ns, shares)
    turn_s = 2 * max(least_block_s, BLOCK_STEPS * step_ns / NS_PER_S)
    turns = int(budget_s / turn_s)
    count = len(ladder)
    while count > 1 and turns < least_turns(count * len(stages)):
        count -= 1
    chosen = ladder[-count:]
    treatments = tuple(Treatment(stage, size) for stage in stages for size in chosen)
    each_stages = max(1, turns // len(stages))
    rounds = max(least_pairs(len(treatments)), each_stages // (2 * (count - 1))) if count > 1 else each_stages
    whole_s = least_turns(len(ladder) * len(stages)) * turn_s
    return MeasurementPlan(
        treatments, tuple(chosen), turn_s / 2, rounds, each_stages - count * rounds, tuple(ladder[:-count]), whole_s
    )


def least_turns(treatments: int) -> int:
    """How many turns so many treatments need for intervals."""
    return treatments * least_pairs(treatments)
