"""A fixed number of streams: throughput is what the engine can do, and the wall time of a step tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from probes.errors import EnginescopeError
from tracing.whatif.answer import StageAnswer, WhatIfAnswer
from tracing.whatif.blocks import Block, pairs, without_delay
from tracing.whatif.plan import BLOCK_STEPS, LEAST_BLOCK_S, NS_PER_S, MeasurementPlan, plan
from tracing.whatif.slopes import sized_slope, stage_slope
from tracing.whatif.stages import DelayedStage, asleep, spins
from tracing.whatif.steps import RecordedEngine


@dataclass(frozen=True)
class ClosedLoad:
    """So many streams, each of which asks again once it has been answered."""

    streams: int

    def plan(
        self, stages: Sequence[DelayedStage], look: Block, engine: RecordedEngine, budget_s: float
    ) -> MeasurementPlan:
        """What fits into a time; where few steps only decode, blocks are so much longer. EnginescopeError where none
        does."""
        steps = without_delay([look], engine.steps(self.streams))
        if not steps.count:
            raise EnginescopeError(f"while it was watched no step decoded {self.streams} streams and nothing else")
        steady_share = steps.count * steps.period_ns / (look.end_ns - look.begin_ns)
        block_s = BLOCK_STEPS * steps.period_ns / min(steady_share, 1.0) / NS_PER_S
        return plan(stages, steps.period_ns, budget_s, least_block_s=max(LEAST_BLOCK_S, block_s))

    def answer(
        self, blocks: Sequence[Block], engine: RecordedEngine, done: MeasurementPlan, calls: dict[str, float]
    ) -> WhatIfAnswer:
        """What the blocks tell; EnginescopeError where none of a stage was steady."""
        usual = without_delay(blocks, engine.steps(self.streams))
        sized = {
            treatment: sized_slope(each, len(done.treatments))
            for treatment, each in pairs(blocks, engine, self.streams).items()
            if each
        }
        answers = []
        for stage in done.stages:
            own = [slope for treatment, slope in sized.items() if treatment.stage == stage]
            if not own:
                raise EnginescopeError(f"no block of {stage.name} was steady: give it more time (--budget)")
            twin = asleep(stage) if spins(stage) else None
            sleeping = next((slope for treatment, slope in sized.items() if treatment.stage == twin), None)
            time_ns = engine.time_ns(stage, usual.windows) / usual.count
            slope = stage_slope(own)
            answers.append(StageAnswer(stage.name, time_ns, calls[stage.name], slope, sleeping))
        return WhatIfAnswer(usual.period_ns, self.streams, tuple(answers), done.left_out)

    def lacking(self, blocks: Sequence[Block], engine: RecordedEngine, done: MeasurementPlan) -> MeasurementPlan:
        """What is to be run again, as other work held up too many of its blocks."""
        return done.lacking({treatment: len(each) for treatment, each in pairs(blocks, engine, self.streams).items()})


def doubts(answer: WhatIfAnswer, done: MeasurementPlan) -> MeasurementPlan:
    """What is to be run to tell why slopes are above 1: the same delays asleep, of the stages that would spin."""
    dear = {stage.name for stage in answer.stages if stage.costs_more}
    return done.asleep({stage.name for stage in done.stages if stage.name in dear and spins(stage)})
