"""Measures a standing engine: turns its delays on and off block by block, and takes the records out of its rings."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from probes.errors import EnginescopeError
from tracing.attach.engine import StandingEngine
from tracing.attach.ring import Ring, new_rings
from tracing.attach.switch import turned_on
from tracing.events.delays import FILE
from tracing.whatif.answer import StageAnswer, WhatIfAnswer
from tracing.whatif.blocks import Block, Treatment, pairs, without_delay
from tracing.whatif.engine.delayfile import DelayFile
from tracing.whatif.plan import MeasurementPlan, plan
from tracing.whatif.slopes import sized_slope, stage_slope
from tracing.whatif.stages import DelayedStage
from tracing.whatif.steps import EngineRecords, RecordedEngine

RENEWAL_S = 0.5
LOOK_S = 2.0  # at the engine without a delay, before the plan
START_S = 240.0
STEADY_STEPS = 100

Say = Callable[[str], None]


@dataclass
class Measurement:
    """One engine under a steady load of so many streams; `lives` says whether its program still runs."""

    engine: StandingEngine
    stages: Sequence[DelayedStage]
    streams: int
    lives: Callable[[], bool]
    rings: dict[int, Ring] = field(default_factory=dict)
    records: EngineRecords = field(default_factory=EngineRecords)
    blocks: list[Block] = field(default_factory=list)

    def run(self, budget_s: float, seed: int, say: Say) -> WhatIfAnswer:
        """Measure for about so long; EnginescopeError where the engine ends, or its load is not steady."""
        with turned_on(self.engine), DelayFile(self.engine.folder / FILE) as delays:
            self._wait_until_steady(delays)
            first = self._block(delays, LOOK_S, None)
            step_ns = self._step_ns(first)
            todo = plan(self.stages, step_ns, budget_s)
            say(f"a step takes {step_ns / 1e6:.2f} ms; {len(todo.treatments)} delays, {todo.rounds} times each, "
                f"about {2 * todo.block_s * todo.rounds * len(todo.treatments):.0f} s")  # fmt: skip
            calls = self._calls_per_step(first, step_ns)
            self.blocks = [self._block(delays, todo.block_s, None)]
            for treatment in todo.turns(seed):
                self.blocks.append(self._block(delays, todo.block_s, treatment, calls[treatment.stage.name]))
                self.blocks.append(self._block(delays, todo.block_s, None))
        return self._answer(todo, calls)

    def _wait_until_steady(self, delays: DelayFile) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            self._block(delays, LOOK_S / 4, None)
            engine = RecordedEngine(self.records.whole())
            if len(engine.cores()) == 1 and np.count_nonzero(engine.steps(self.streams).steady) >= STEADY_STEPS:
                return
            if len(engine.cores()) > 1:
                raise EnginescopeError("the engine has several cores: each has steps of its own, which is not measured")
        raise EnginescopeError(f"the engine did not decode {self.streams} streams at a time within {START_S:.0f} s")

    def _block(
        self, delays: DelayFile, length_s: float, treatment: Treatment | None, calls_per_step: float = 1.0
    ) -> Block:
        """Let a block go by, and take what was recorded meanwhile."""
        if treatment:
            length_ns = round(treatment.length_ns / calls_per_step)
            delays.put(treatment.stage.site, treatment.stage.kind, length_ns, len(self.blocks))
        begin_ns = time.monotonic_ns()
        end = time.monotonic() + length_s
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, RENEWAL_S))
            delays.renew()
        end_ns = time.monotonic_ns()
        delays.clear()
        self._take()
        return Block(begin_ns, end_ns, treatment)

    def _take(self) -> None:
        if not self.lives():
            raise EnginescopeError("the engine ended while it was measured")
        for ring in new_rings(self.engine.folder, self.rings):
            self.rings[ring.pid] = ring
        for pid, ring in self.rings.items():
            self.records.add(pid, ring.take())

    def _step_ns(self, block: Block) -> float:
        look = without_delay([block], RecordedEngine(self.records.whole()).steps(self.streams))
        if not look.count:
            raise EnginescopeError(f"no step decoded {self.streams} streams alone within {LOOK_S:.0f} s")
        return look.period_ns

    def _calls_per_step(self, block: Block, step_ns: float) -> dict[str, float]:
        """The calls of each stage in a step; EnginescopeError where one is not called."""
        engine, count = RecordedEngine(self.records.whole()), (block.end_ns - block.begin_ns) / step_ns
        calls = {stage.name: engine.calls(stage.code, block.begin_ns, block.end_ns) / count for stage in self.stages}
        for name, number in calls.items():
            if number < 0.5:
                raise EnginescopeError(f"{name} is not called in this engine's steps: leave it out of --stages")
        return {name: float(max(1, round(number))) for name, number in calls.items()}

    def _answer(self, done: MeasurementPlan, calls: dict[str, float]) -> WhatIfAnswer:
        engine = RecordedEngine(self.records.whole())
        usual = without_delay(self.blocks, engine.steps(self.streams))
        sized = {
            treatment: sized_slope(each, len(done.treatments))
            for treatment, each in pairs(self.blocks, engine, self.streams).items()
            if each
        }
        answers = []
        for stage in self.stages:
            own = [slope for treatment, slope in sized.items() if treatment.stage == stage]
            if not own:
                raise EnginescopeError(f"no block of {stage.name} was steady: give it more time (--budget)")
            time_ns = max(engine.inside(stage.code, usual.windows), default=0) / usual.count
            answers.append(StageAnswer(stage.name, time_ns, calls[stage.name], stage_slope(own)))
        return WhatIfAnswer(usual.period_ns, self.streams, tuple(answers))
