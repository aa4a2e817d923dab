"""Measures a standing engine under its load, block by block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from probes.errors import EnginescopeError
from tracing.attach.engine import StandingEngine
from tracing.attach.switch import turned_on
from tracing.events.delays import FILE
from tracing.whatif.answer import WhatIfAnswer
from tracing.whatif.blocks import Block
from tracing.whatif.closedload import ClosedLoad
from tracing.whatif.engine.delayfile import DelayFile
from tracing.whatif.openanswer import OpenAnswer
from tracing.whatif.openload import OpenLoad
from tracing.whatif.recording import BlockRecorder
from tracing.whatif.seenload import OPEN, find_load
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
            recorder = BlockRecorder(self.engine, delays, self.lives)
            streams = find_load(recorder, self.streams, self.patience_s)
            load = OpenLoad() if streams == OPEN else ClosedLoad(streams)
            look = recorder.block(LOOK_S)
            calls = calls_per_step(self.stages, look, recorder.recorded())
            todo = load.plan(list(calls), look, recorder.recorded(), budget_s)
            say(f"{'requests come and go' if streams == OPEN else f'{streams} streams'}; "
                f"{len(todo.treatments)} delays, {todo.rounds} times each, about {todo.seconds:.0f} s")  # fmt: skip
            blocks = [recorder.block(todo.block_s)]
            for treatment in todo.turns(seed):
                blocks.append(recorder.block(todo.block_s, treatment, calls[treatment.stage]))
                blocks.append(recorder.block(todo.block_s))
        return load.answer(blocks, recorder.recorded(), todo, calls)


def calls_per_step(stages: Sequence[DelayedStage], look: Block, engine: RecordedEngine) -> dict[DelayedStage, float]:
    """The stages, apart where several processes have one, each with its calls in a step; EnginescopeError where one is
    not called."""
    between = (look.begin_ns, look.end_ns)
    delivered_ns = engine.steps(OPEN).delivered_ns
    count = max(1, int(np.count_nonzero((delivered_ns >= look.begin_ns) & (delivered_ns < look.end_ns))))
    calls: dict[DelayedStage, float] = {}
    for stage in stages:
        if engine.calls(stage, *between) / count < LEAST_CALLS:
            raise EnginescopeError(f"{stage.name} is not called in this engine's steps: leave it out of --stages")
        for each in apart(stage, engine.callers(stage.code, *between)):
            calls[each] = float(max(1, round(engine.calls(each, *between) / count)))
    return calls
