"""Blocks: stretches of an engine's steps with one treatment, cut by step number, and pairs of them.

A block holds the steps that were scheduled after it began and delivered before it ended: those in flight at either end
are dropped, and some more until its delays have come through. Where a front end is behind after a delay of its own, the
block after it begins once it has caught up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tracing.timeline.intervals import Ints, Pieces
from tracing.whatif.slopes import BlockPair
from tracing.whatif.stages import DelayedStage
from tracing.whatif.steps import EngineSteps, RecordedEngine

SETTLING = 3  # steps
BEHIND = 2.0  # usual lags, above which a front end has not caught up
FEWEST = 6  # steps that a block needs
LONGEST = 2.0  # upper quartiles of a block's steps


@dataclass(frozen=True)
class Treatment:
    """What is asked of the engine: a delay of this length in each step, before the calls of a stage."""

    stage: DelayedStage
    length_ns: int


@dataclass(frozen=True)
class Block:
    """A time, in ns of CLOCK_MONOTONIC, and what was asked meanwhile; None: nothing."""

    begin_ns: int
    end_ns: int
    treatment: Treatment | None = None


@dataclass(frozen=True)
class BlockSteps:
    """The steps of a block: each as the window from the delivery before it to its own."""

    windows: Pieces

    @property
    def count(self) -> int:
        return len(self.windows[0])

    @property
    def period_ns(self) -> float:
        """The wall time of a step."""
        return usual_length(self.windows[1] - self.windows[0])


def usual_length(lengths_ns: Ints) -> float:
    """The mean of some times, of which one that was held up counts as no longer than `LONGEST`."""
    return float(np.minimum(lengths_ns, LONGEST * np.quantile(lengths_ns, 0.75)).mean())


def cut(block: Block, steps: EngineSteps, usual_lag_ns: float) -> BlockSteps:
    """The steady steps of a block."""
    inside = (steps.scheduled_ns >= block.begin_ns) & (steps.delivered_ns <= block.end_ns)
    places = np.flatnonzero(inside)[SETTLING:]
    if block.treatment is None and len(places):
        caught_up = steps.lag_ns[places] <= BEHIND * usual_lag_ns
        places = places[int(caught_up.argmax()) :] if caught_up.any() else places[:0]
    later = places[1:]
    follows = (np.diff(places) == 1) & (np.diff(steps.number[places]) == 1)
    kept = later[follows & steps.steady[later]]
    return BlockSteps((steps.delivered_ns[kept - 1], steps.delivered_ns[kept]))


def pair(
    around: tuple[BlockSteps, BlockSteps], during: BlockSteps, stage: DelayedStage, engine: RecordedEngine
) -> BlockPair | None:
    """A block with a delay of a stage, against those around it.

    None where one has too few steps, or nothing was delayed. What several processes were delayed by is taken on the
    mean: all ranks of a stage work on each step.
    """
    if min(block.count for block in (*around, during)) < FEWEST:
        return None
    achieved_ns = achieved(stage, during.windows, engine)
    if not achieved_ns:
        return None
    effect_ns = during.period_ns - sum(block.period_ns for block in around) / 2
    return BlockPair(effect_ns, achieved_ns / during.count)


def achieved(stage: DelayedStage, windows: Pieces, engine: RecordedEngine) -> float:
    """The delay that was made in some windows, in ns: of several processes that were delayed, the mean."""
    sums = engine.delays_ns(stage, windows)
    return float(np.mean(sums)) if sums else 0.0


def pairs(blocks: Sequence[Block], engine: RecordedEngine, streams: int) -> dict[Treatment, list[BlockPair]]:
    """The pairs of each treatment, out of blocks with a delay that stand between blocks without."""
    steps = engine.steps(streams)
    usual_lag_ns = usual_lag(steps, blocks)
    cuts = [cut(block, steps, usual_lag_ns) for block in blocks]
    by_treatment: dict[Treatment, list[BlockPair]] = {block.treatment: [] for block in blocks if block.treatment}
    for place, block in enumerate(blocks):
        if block.treatment:
            around = (cuts[place - 1], cuts[place + 1])
            if new := pair(around, cuts[place], block.treatment.stage, engine):
                by_treatment[block.treatment].append(new)
    return by_treatment


def without_delay(blocks: Sequence[Block], steps: EngineSteps) -> BlockSteps:
    """The steps of all blocks without a delay."""
    usual_lag_ns = usual_lag(steps, blocks)
    cuts = [cut(block, steps, usual_lag_ns).windows for block in blocks if block.treatment is None]
    begins, ends = zip(*cuts, strict=True)
    return BlockSteps((np.concatenate(begins), np.concatenate(ends)))


def usual_lag(steps: EngineSteps, blocks: Sequence[Block]) -> float:
    """The median lag of steps without a delay, in ns; 0 where there is none."""
    inside = np.zeros(len(steps.number), dtype=bool)
    for block in blocks:
        if block.treatment is None:
            inside |= (steps.scheduled_ns >= block.begin_ns) & (steps.delivered_ns <= block.end_ns)
    return float(np.median(steps.lag_ns[inside])) if inside.any() else 0.0
