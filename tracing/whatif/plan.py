"""The plan of a measurement: how large the delays are, how long a block lasts, and in which order they come."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tracing.whatif.blocks import Treatment
from tracing.whatif.slopes import least_pairs
from tracing.whatif.stages import DelayedStage

SHARES = (0.05, 0.1, 0.2, 0.4, 0.8)  # of a step
LEAST_NS = 200_000
BLOCK_STEPS, LEAST_BLOCK_S = 40, 0.25
NS_PER_S = 1e9


@dataclass(frozen=True)
class MeasurementPlan:
    """The delays of each stage, and the length of a block; `rounds` is how often each delay has its turn."""

    treatments: tuple[Treatment, ...]
    sizes_ns: tuple[int, ...]
    block_s: float
    rounds: int
    left_out_ns: tuple[int, ...] = ()  # sizes for which there is no time

    def turns(self, seed: int) -> Iterator[Treatment]:
        """The treatments, in a random order in each round."""
        draw = random.Random(seed)
        for _ in range(self.rounds):
            yield from draw.sample(self.treatments, len(self.treatments))


def sizes(step_ns: float) -> list[int]:
    """5, 10, 20, 40 and 80 % of a step, but no less than 200 µs.

    | step    | sizes                           |
    | ------- | ------------------------------- |
    | 10 ms   | 0.5, 1, 2, 4 and 8 ms           |
    | 3 ms    | 0.2, 0.3, 0.6, 1.2 and 2.4 ms   |
    | 0.2 ms  | 0.2 ms                          |
    """
    return sorted({max(LEAST_NS, round(share * step_ns)) for share in SHARES})


def plan(stages: Sequence[DelayedStage], step_ns: float, budget_s: float) -> MeasurementPlan:
    """What fits into a time: each size takes a turn often enough for intervals, else the smallest, which tell the
    least, are left out; the largest is always there.

    A turn is a block with a delay and one without.
    """
    ladder = sizes(step_ns)
    block_s = max(LEAST_BLOCK_S, BLOCK_STEPS * step_ns / NS_PER_S)
    turns = int(budget_s / (2 * block_s))
    count = len(ladder)
    while count > 1 and turns < count * len(stages) * least_pairs(count * len(stages)):
        count -= 1
    chosen = ladder[-count:]
    treatments = tuple(Treatment(stage, size) for stage in stages for size in chosen)
    rounds = max(1, turns // len(treatments))
    return MeasurementPlan(treatments, tuple(chosen), block_s, rounds, tuple(ladder[:-count]))
