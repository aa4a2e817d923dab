"""What the delays of `tracing.whatif` foretell for a slower stage, against engines whose source is slower there.

A plain engine and one with a delay in the source of each stage are alive together, all of them frozen but the one whose
turn it is: so other work on the machine comes and goes in all alike. In each round and for each stage, in random order,
the wall time of a step is taken in the plain engine, in it under a delay of `tracing.whatif` in that stage, and in the
engine whose source is slower: the median over the steps of half a second, since other work holds up some of them for
long. Differences are taken within rounds; what is foretold is the slope of the delay times what the stage's own time
grew by. What a start told is kept in a folder, and not asked again.

Example: python tests/bench/planted_stages.py --stages schedule --starts 1 --seconds 60 --folder build/planted
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from probes.jsonform import read_record
from probes.processes.child import ChildProcess
from probes.statistics.intervals import Estimate
from tests.bench.planting.sitecustomize import VARIABLE
from tracing.attach.switch import turned_on
from tracing.events.delays import FILE
from tracing.shapes.shape import shape_named
from tracing.sites.engine import ALL_SITES
from tracing.whatif.blocks import FEWEST, Block, BlockSteps, Treatment, achieved, cut, usual_lag
from tracing.whatif.engine.delayfile import DelayFile
from tracing.whatif.engine.started import loaded_engine
from tracing.whatif.loads.seenload import find_load
from tracing.whatif.measurement import START_S
from tracing.whatif.recording import BlockRecorder
from tracing.whatif.slopes import center
from tracing.whatif.stages import DelayedStage, stages_named

STREAMS, BLOCK_S = 8, 0.5
AWAKE_S = 0.2  # after it was frozen, before an engine is measured
DEFAULT = "schedule,update,process outputs,prepare,sample"
PLANTING = Path(__file__).parent / "planting"
PLAIN = "plain"


@dataclass(frozen=True)
class StageTurn:
    """A stage's turn in a round, in ns a step: the wall time of the plain engine, of it under a delay, and of the one
    that is slower; the delay that was made; and by how much the stage's own time is longer in the last."""

    plain: float
    delayed: float
    slower: float
    delay: float
    grown: float


@dataclass
class FrozenEngine:
    """An engine under its load that stands still but in its turns, and its blocks."""

    recorder: BlockRecorder
    child: ChildProcess

    def await_load(self) -> None:
        """Stand still once it has come under its load."""
        find_load(self.recorder, STREAMS, START_S)
        self.child.freeze()

    def turn(self, treatment: Treatment | None = None) -> Block:
        """Let it run for a block."""
        self.child.thaw()
        time.sleep(AWAKE_S)
        block = self.recorder.block(BLOCK_S, treatment)
        self.child.freeze()
        return block


@contextmanager
def planting(stage: DelayedStage | None, length_ms: float) -> Iterator[None]:
    """The environment in which Python plants a delay."""
    before = dict(os.environ)
    if stage:
        os.environ[VARIABLE] = f"{ALL_SITES[stage.code].targets[0]} {length_ms}"
        os.environ["PYTHONPATH"] = os.pathsep.join([str(PLANTING), *filter(None, [before.get("PYTHONPATH")])])
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def start(stack: ExitStack, shape: str, stage: DelayedStage | None, length_ms: float) -> FrozenEngine:
    """An engine that starts, with a delay in the source of a stage where one is given; it ends with the stack."""
    log = Path(stack.enter_context(tempfile.TemporaryDirectory()), "log")
    with planting(stage, length_ms):
        standing, child = stack.enter_context(loaded_engine(shape_named(shape), STREAMS, 0.0, "", log))
    stack.callback(child.thaw)
    stack.enter_context(turned_on(standing))
    delays = stack.enter_context(DelayFile(standing.folder / FILE))
    return FrozenEngine(BlockRecorder(standing, delays, lambda: child.running), child)


def measured(
    shape: str, stages: Sequence[DelayedStage], length_ms: float, seconds: float
) -> dict[str, list[StageTurn]]:
    """One start of all engines, and so many seconds of turns."""
    with ExitStack() as stack:
        plain = start(stack, shape, None, 0)
        slower = {stage: start(stack, shape, stage, length_ms) for stage in stages}
        for engine in (plain, *slower.values()):
            engine.await_load()
        blocks: dict[DelayedStage, list[tuple[Block, Block, Block]]] = {stage: [] for stage in stages}
        draw, end_s = random.Random(0), time.monotonic() + seconds
        while time.monotonic() < end_s:
            for stage in draw.sample(stages, len(stages)):
                blocks[stage].append(three_turns(plain, slower[stage], Treatment(stage, round(length_ms * 1e6)), draw))
        return {stage.name: stage_turns(stage, blocks[stage], plain, slower[stage]) for stage in stages}


def three_turns(
    plain: FrozenEngine, slower: FrozenEngine, treatment: Treatment, draw: random.Random
) -> tuple[Block, Block, Block]:
    """A block of the plain engine, of it under a delay, and of the one that is slower, in random order."""
    each = {0: (plain, None), 1: (plain, treatment), 2: (slower, None)}
    blocks = {place: each[place][0].turn(each[place][1]) for place in draw.sample(range(3), 3)}
    return blocks[0], blocks[1], blocks[2]


def stage_turns(
    stage: DelayedStage, blocks: Sequence[tuple[Block, Block, Block]], plain: FrozenEngine, slower: FrozenEngine
) -> list[StageTurn]:
    """What the blocks tell; one with too few steps tells nothing."""
    bare, with_delay, of_slower = (list(each) for each in zip(*blocks, strict=True))
    engine, slow_engine = plain.recorder.recorded(), slower.recorder.recorded()
    columns = zip(steps_of(plain, bare), steps_of(plain, with_delay), steps_of(slower, of_slower), strict=True)
    turns = []
    for before, delayed, after in columns:
        if min(each.count for each in (before, delayed, after)) >= FEWEST:
            own_ns = engine.time_ns(stage, before.windows) / before.count
            slower_ns = slow_engine.time_ns(stage, after.windows) / after.count
            delay_ns = achieved(stage, delayed.windows, engine) / delayed.count
            turns.append(StageTurn(usual_ns(before), usual_ns(delayed), usual_ns(after), delay_ns, slower_ns - own_ns))
    return turns


def usual_ns(steps: BlockSteps) -> float:
    """The wall time of half of the steps is less."""
    begin_ns, end_ns = steps.windows
    return float(np.median(end_ns - begin_ns))


def steps_of(engine: FrozenEngine, blocks: Sequence[Block]) -> list[BlockSteps]:
    """The steady steps of some of an engine's blocks."""
    steps = engine.recorder.recorded().steps(STREAMS)
    lag_ns = usual_lag(steps, blocks)
    return [cut(block, steps, lag_ns) for block in blocks]


def row(name: str, number: int, turns: Sequence[StageTurn]) -> str:
    """A line of the table: of one start of a stage's engine."""
    grown = center([turn.grown for turn in turns])
    foretold = center([(turn.delayed - turn.plain) / turn.delay * grown.value for turn in turns])
    seen = center([turn.slower - turn.plain for turn in turns])
    step = center([turn.plain for turn in turns])
    cells = [f"{step.value / 1e6:.2f}", f"{grown.value / 1e6:.2f}", in_ms(foretold), in_ms(seen)]
    return f"| {name} | {number} | {len(turns)} | {' | '.join(cells)} | {foretold.value / seen.value:.2f} |"


def in_ms(estimate: Estimate) -> str:
    low, high = ("n/a" if end is None else f"{end / 1e6:.2f}" for end in (estimate.low, estimate.high))
    return f"{estimate.value / 1e6:.2f} [{low}, {high}]"


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--shape", default="one-gpu")
    arguments.add_argument("--stages", default=DEFAULT)
    arguments.add_argument("--length-ms", type=float, default=1.0, help="of the planted delay (default %(default)s)")
    arguments.add_argument("--starts", type=int, default=2, help="of each engine (default %(default)s)")
    arguments.add_argument("--seconds", type=float, default=130.0, help="of turns in each start (default %(default)s)")
    arguments.add_argument("--folder", type=Path, default=Path("build/planted"), help="default: %(default)s")
    return arguments


def main() -> int:
    args = parser().parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    stages = stages_named(args.stages)
    paths = [args.folder / f"start-{number}.json" for number in range(args.starts)]
    for path in paths:
        if not path.exists():
            turns = measured(args.shape, stages, args.length_ms, args.seconds)
            path.write_text(json.dumps({name: [asdict(turn) for turn in each] for name, each in turns.items()}))
    starts = [json.loads(path.read_text()) for path in paths]
    print("| stage | start | rounds | step, ms | stage longer by | step longer by, foretold | seen | foretold / seen |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for stage in stages:
        for number, by_stage in enumerate(starts, 1):
            print(row(stage.name, number, [read_record(StageTurn, turn) for turn in by_stage[stage.name]]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
