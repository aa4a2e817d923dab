"""Measures a standing engine under its load, block by block."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from probes.errors import EnginescopeError
from tracing.attach.engine import StandingEngine
from tracing.attach.switch import turned_on
from tracing.events.delays import FILE
from tracing.whatif.answer import WhatIfAnswer
from tracing.whatif.blocks import Block
from tracing.whatif.engine.delayfile import DelayFile
from tracing.whatif.loads.closedload import ClosedLoad, doubts
from tracing.whatif.loads.openload import OpenLoad
from tracing.whatif.loads.seenload import OPEN, find_load
from tracing.whatif.openanswer import OpenAnswer
from tracing.whatif.plan import MeasurementPlan
from tracing.whatif.recording import BlockRecorder
from tracing.whatif.stages import DelayedStage, apart
from tracing.whatif.steps import RecordedEngine

LOOK_S = 2.0  # at the engine without a delay, before the plan
START_S = 240.0
LEAST_CALLS = 0.5  # of a stage in a step

Say = Callable[[str], None]


@dataclass(frozen=True)
class Measurement:
    """One engine, whose load is so many streams (`OPEN`: requests that come and go; None: what is seen); `lives` says
    whether it still runs, and it has so long to come under its load."""

    engine: StandingEngine
    stages: Sequence[DelayedStage]
    streams: int | None
    lives: Callable[[], bool]
    patience_s: float = START_S

    def run(self, budget_s: float, seed: int, say: Say) -> WhatIfAnswer | OpenAnswer:
        """Measure for about so long; EnginescopeError where the engine ends, or its load is not what was said."""
        with turned_on(self.engine), DelayFile(self.engine.folder / FILE) as delays:
            recorder, begun_ns = BlockRecorder(self.engine, delays, self.lives), time.monotonic_ns()
            streams = find_load(recorder, self.streams, self.patience_s)
            load = OpenLoad() if streams == OPEN else ClosedLoad(streams)
            look = recorder.block(LOOK_S)
            if streams == OPEN:
                look = replace(look, begin_ns=begun_ns)  # by itself it may have seen no request
            engine = recorder.recorded()
            stages = processes_apart(self.stages, look, engine)
            calls = calls_per_step(stages, look, engine)
            todo = load.plan(stages, look, engine, budget_s)
            say(f"{'requests come and go' if streams == OPEN else f'{streams} streams'}; {outline(todo)}")
            blocks = [recorder.block(todo.block_s)]
            blocks += turns(recorder, todo, calls, seed)
            answer = load.answer(blocks, recorder.recorded(), todo, calls)
            if isinstance(answer, WhatIfAnswer) and (more := doubts(answer, todo)).treatments:
                say(f"slopes above 1, so once more with delays that sleep: {outline(more)}")
                blocks += turns(recorder, more, calls, seed)
                answer = load.answer(blocks, recorder.recorded(), todo, calls)
        return answer


def outline(todo: MeasurementPlan) -> str:
    """What is going to be done."""
    count = len(todo.treatments)
    return f"{count} delay{'s' if count > 1 else ''}, {todo.rounds} times each, about {todo.seconds:.0f} s"


def turns(recorder: BlockRecorder, todo: MeasurementPlan, calls: dict[str, float], seed: int) -> Iterator[Block]:
    """The blocks of a plan, each with one without a delay behind it."""
    for treatment in todo.turns(seed):
        yield recorder.block(todo.block_s, treatment, calls[treatment.stage.name])
        yield recorder.block(todo.block_s)


def processes_apart(stages: Sequence[DelayedStage], look: Block, engine: RecordedEngine) -> list[DelayedStage]:
    """The stages, apart where several processes have one."""
    return [each for stage in stages for each in apart(stage, engine.callers(stage.code, look.begin_ns, look.end_ns))]


def calls_per_step(stages: Sequence[DelayedStage], look: Block, engine: RecordedEngine) -> dict[str, float]:
    """The calls in a step by the stage's name, those of one process as often as it is called; EnginescopeError where a
    stage is called nowhere."""
    delivered_ns = engine.steps(OPEN).delivered_ns
    steps = max(1, int(np.count_nonzero((delivered_ns >= look.begin_ns) & (delivered_ns < look.end_ns))))
    calls = {stage.name: engine.calls(stage, look.begin_ns, look.end_ns) / steps for stage in stages}
    for stage in stages:
        if not stage.pid and calls[stage.name] < LEAST_CALLS:
            raise EnginescopeError(f"{stage.name} is not called in this engine's steps: leave it out of --stages")
    return {name: float(max(1, round(number))) for name, number in calls.items()}
