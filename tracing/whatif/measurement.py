"""Measures a standing engine under its load, block by block."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from probes.errors import EnginescopeError
from tracing.attach.engine import StandingEngine
from tracing.attach.switch import turned_on
from tracing.events import processfile
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
from tracing.whatif.stages import DelayedStage, apart, nested
from tracing.whatif.steps import RecordedEngine

LOOK_S = 2.0  # at the engine without a delay, before the plan
START_S = 240.0
LEAST_CALLS = 0.5  # of a stage in a step
LONGER = 0.5  # of the budget, at most, where blocks were lost

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
            chosen = present(self.stages, look, engine, self.engine.folder, say)
            stages = processes_apart(chosen, look, engine)
            calls = calls_per_step(stages, look, engine)
            todo = load.plan(stages, look, engine, budget_s)
            say(f"{'requests come and go' if streams == OPEN else f'{streams} streams'}; {outline(todo)}")
            blocks = [recorder.block(todo.block_s)]
            blocks += turns(recorder, todo, calls, seed)
            until_s = time.monotonic() + LONGER * budget_s
            while time.monotonic() < until_s and (short := load.lacking(blocks, recorder.recorded(), todo)).treatments:
                blocks += turns(recorder, short, calls, seed)
            answer = load.answer(blocks, recorder.recorded(), todo, calls)
            if isinstance(answer, WhatIfAnswer) and (more := doubts(answer, todo)).treatments:
                say(f"slopes above 1, so once more with delays that sleep: {outline(more)}")
                blocks += turns(recorder, more, calls, seed)
                answer = load.answer(blocks, recorder.recorded(), todo, calls)
        return replace(answer, nested=nested_in(chosen, look, engine))


def outline(todo: MeasurementPlan) -> str:
    """What is going to be done."""
    count = len(todo.treatments)
    more = f", the largest {todo.more_rounds} times more" if todo.more_rounds else ""
    return f"{count} delay{'s' if count > 1 else ''}, {todo.rounds} times each{more}, about {todo.seconds:.0f} s"


def turns(recorder: BlockRecorder, todo: MeasurementPlan, calls: dict[str, float], seed: int) -> Iterator[Block]:
    """The blocks of a plan, each with one without a delay behind it."""
    for treatment in todo.turns(seed):
        yield recorder.block(todo.block_s, treatment, calls[treatment.stage.name])
        yield recorder.block(todo.block_s)


def present(
    stages: Sequence[DelayedStage], look: Block, engine: RecordedEngine, folder: Path, say: Say
) -> list[DelayedStage]:
    """The stages that this engine has, each at the site that its steps call; EnginescopeError where it has none."""
    absent = [] if has_device(folder) else [stage.name for stage in stages if stage.on_device]
    chosen = [at_called_site(stage, look, engine) for stage in stages if stage.name not in absent]
    words = f"{', '.join(absent)}: this engine has no device whose time is known"
    if not chosen:
        raise EnginescopeError(words)
    if absent:
        say(words)
    return chosen


def has_device(folder: Path) -> bool:
    """Whether a process of the engine times what it gives to a device."""
    processes = [processfile.read(path) for path in folder.glob("events-*.bin")]
    return any(process is not None and process.times_device for process in processes)


def at_called_site(stage: DelayedStage, look: Block, engine: RecordedEngine) -> DelayedStage:
    """The stage at the first of its sites that is called about once a step, or at its usual one."""
    steps = steps_in(look, engine)
    each_at = [replace(stage, site=site) for site in (stage.site, *stage.otherwise)]
    called = (at for at in each_at if engine.calls(at, look.begin_ns, look.end_ns) >= LEAST_CALLS * steps)
    return next(called, stage)


def steps_in(look: Block, engine: RecordedEngine) -> int:
    """How many steps were delivered in a time; 1 where none was."""
    delivered_ns = engine.steps(OPEN).delivered_ns
    return max(1, int(np.count_nonzero((delivered_ns >= look.begin_ns) & (delivered_ns < look.end_ns))))


def processes_apart(stages: Sequence[DelayedStage], look: Block, engine: RecordedEngine) -> list[DelayedStage]:
    """The stages, apart where several processes have one."""
    return [each for stage in stages for each in apart(stage, engine.callers(stage.code, look.begin_ns, look.end_ns))]


def nested_in(stages: Sequence[DelayedStage], look: Block, engine: RecordedEngine) -> tuple[str, ...]:
    """Which of the stages hold others of them, in the processes that called them."""
    return nested({stage.name: engine.callers(stage.code, look.begin_ns, look.end_ns) for stage in stages})


def calls_per_step(stages: Sequence[DelayedStage], look: Block, engine: RecordedEngine) -> dict[str, float]:
    """The calls in a step by the stage's name, those of one process as often as it is called; EnginescopeError where a
    stage is called nowhere."""
    steps = steps_in(look, engine)
    calls = {stage.name: engine.calls(stage, look.begin_ns, look.end_ns) / steps for stage in stages}
    for stage in stages:
        if not stage.pid and calls[stage.name] < LEAST_CALLS:
            raise EnginescopeError(f"{stage.name} is not called in this engine's steps: leave it out of --stages")
    return {name: float(max(1, round(number))) for name, number in calls.items()}
