"""What the delays of `tracing.whatif` foretell for a slower stage, against an engine whose source is slower there.

The source of each stage's function has a delay as its first statement, which is made while it is asked for: so the
engine that is slower in a stage is the plain one at another moment. In each round and for each stage, in random order,
the wall time of a step is taken as it is, under a delay of `tracing.whatif` in that stage, and with what is planted
there: the median over the steps of half a second, since other work holds up some of them for long. Differences are
taken within rounds; what is foretold is the slope of the delay times what the stage's own time grew by. What a start
told is kept in a folder, and not asked again.

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
from probes.statistics.intervals import Estimate
from tests.bench.planting.sitecustomize import VARIABLE
from tracing.attach.switch import turned_on
from tracing.events.delays import FILE
from tracing.shapes.shape import Shape, shape_named
from tracing.sites.engine import ALL_SITES, CODES
from tracing.whatif.blocks import FEWEST, Block, BlockSteps, Treatment, achieved, cut, usual_lag
from tracing.whatif.engine.delayfile import DelayFile
from tracing.whatif.engine.started import loaded_engine
from tracing.whatif.loads.seenload import find_load
from tracing.whatif.measurement import START_S
from tracing.whatif.recording import BlockRecorder
from tracing.whatif.slopes import center
from tracing.whatif.stages import DelayedStage, stages_named
from tracing.whatif.steps import KEPT_SITES, EngineRecords, RecordedEngine

STREAMS, BLOCK_S = 8, 0.5
SETTLED_S = 0.1  # after the last block, before one begins: what was asked there comes to its end
DEFAULT = "schedule,update,process outputs,prepare,sample"
PLANTING = Path(__file__).parent / "planting"
NOTHING = 0  # planted


@dataclass(frozen=True)
class StageTurn:
    """A stage's turn in a round, in ns a step: the wall time of the engine as it is, under a delay, and with what is
    planted; the delay that was made; and by how much the stage's own time is longer in the last."""

    plain: float
    delayed: float
    slower: float
    delay: float
    grown: float


Blocks = tuple[Block, Block, Block]  # of a turn: plain, delayed, slower


class PlantedEngine:
    """An engine under its load, with a delay in the source of each stage."""

    def __init__(self, stack: ExitStack, shape: str, stages: Sequence[DelayedStage], length_ms: float) -> None:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.stages, self.length_ns = stages, round(length_ms * 1e6)
        self.switch = scratch / "switch"
        self.switch.write_bytes(bytes([NOTHING]))
        with planting(self.switch, stages, length_ms):
            self.recorder = recorded_engine(stack, shape_named(shape))

    def plant(self, number: int) -> None:
        """Let the stage of this number be slower from now on; 0: none."""
        with self.switch.open("r+b") as file:
            file.write(bytes([number]))

    def turn(self, stage: DelayedStage, draw: random.Random) -> Blocks:
        """A block as it is, one under a delay, and one with what is planted, in random order."""
        planted = self.stages.index(stage) + 1
        asked = [(None, NOTHING), (Treatment(stage, self.length_ns), NOTHING), (None, planted)]
        blocks = {place: self._block(*asked[place]) for place in draw.sample(range(3), 3)}
        return blocks[0], blocks[1], blocks[2]

    def _block(self, treatment: Treatment | None, planted: int) -> Block:
        self.plant(planted)
        time.sleep(SETTLED_S)
        block = self.recorder.block(BLOCK_S, treatment)
        self.plant(NOTHING)
        return block


def recorded_engine(stack: ExitStack, shape: Shape, sites: Sequence[str] = ()) -> BlockRecorder:
    """The blocks of an engine that is started, under its load and recorded until the stack ends; calls of more sites
    than `whatif` needs are kept where they are named."""
    log = Path(stack.enter_context(tempfile.TemporaryDirectory()), "log")
    standing, child = stack.enter_context(loaded_engine(shape, STREAMS, 0.0, "", log))
    stack.enter_context(turned_on(standing))
    delays = stack.enter_context(DelayFile(standing.folder / FILE))
    records = EngineRecords(sites=np.array([*KEPT_SITES, *(CODES[site] for site in sites)]))
    recorder = BlockRecorder(standing, delays, lambda: child.running, records=records)
    find_load(recorder, STREAMS, START_S)
    return recorder


@contextmanager
def planting(switch: Path, stages: Sequence[DelayedStage], length_ms: float) -> Iterator[None]:
    """The environment in which Python plants a delay in each stage."""
    before = dict(os.environ)
    functions = [ALL_SITES[stage.code].targets[0] for stage in stages]
    os.environ[VARIABLE] = " ".join([str(switch), str(length_ms), *functions])
    os.environ["PYTHONPATH"] = os.pathsep.join([str(PLANTING), *filter(None, [before.get("PYTHONPATH")])])
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def measured(
    shape: str, stages: Sequence[DelayedStage], length_ms: float, seconds: float
) -> dict[str, list[StageTurn]]:
    """One start of the engine, and so many seconds of turns."""
    with ExitStack() as stack:
        engine = PlantedEngine(stack, shape, stages, length_ms)
        blocks: dict[DelayedStage, list[Blocks]] = {stage: [] for stage in stages}
        draw, end_s = random.Random(0), time.monotonic() + seconds
        while time.monotonic() < end_s:
            for stage in draw.sample(stages, len(stages)):
                blocks[stage].append(engine.turn(stage, draw))
        recorded = engine.recorder.recorded()
        return {stage.name: stage_turns(stage, blocks[stage], recorded) for stage in stages}


def stage_turns(stage: DelayedStage, blocks: Sequence[Blocks], engine: RecordedEngine) -> list[StageTurn]:
    """What the blocks tell; one with too few steps tells nothing."""
    turns = []
    for before, delayed, after in zip(*(steps_of(engine, each) for each in zip(*blocks, strict=True)), strict=True):
        if min(each.count for each in (before, delayed, after)) >= FEWEST:
            grown = [engine.time_ns(stage, each.windows) / each.count for each in (before, after)]
            delay_ns = achieved(stage, delayed.windows, engine) / delayed.count
            turns.append(StageTurn(usual_ns(before), usual_ns(delayed), usual_ns(after), delay_ns, grown[1] - grown[0]))
    return turns


def usual_ns(steps: BlockSteps) -> float:
    """The wall time of half of the steps is less."""
    begin_ns, end_ns = steps.windows
    return float(np.median(end_ns - begin_ns))


def steps_of(engine: RecordedEngine, blocks: Sequence[Block]) -> list[BlockSteps]:
    """The steady steps of some of its blocks."""
    steps = engine.steps(STREAMS)
    lag_ns = usual_lag(steps, blocks)
    return [cut(block, steps, lag_ns) for block in blocks]


def row(name: str, turns: Sequence[StageTurn]) -> str:
    """A line of the table: a stage, over all starts."""
    grown = center([turn.grown for turn in turns])
    foretold = [(turn.delayed - turn.plain) / turn.delay * grown.value for turn in turns]
    seen = [turn.slower - turn.plain for turn in turns]
    step = center([turn.plain for turn in turns])
    apart = [first - second for first, second in zip(foretold, seen, strict=True)]
    cells = [str(len(turns)), f"{step.value / 1e6:.2f}", f"{grown.value / 1e6:.2f}"]
    return f"| {' | '.join([name, *cells, *(in_ms(center(each)) for each in (foretold, seen, apart))])} |"


def in_ms(estimate: Estimate) -> str:
    low, high = ("n/a" if end is None else f"{end / 1e6:.2f}" for end in (estimate.low, estimate.high))
    return f"{estimate.value / 1e6:.2f} [{low}, {high}]"


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--shape", default="one-gpu")
    arguments.add_argument("--stages", default=DEFAULT)
    arguments.add_argument("--length-ms", type=float, default=1.0, help="of the planted delay (default %(default)s)")
    arguments.add_argument("--starts", type=int, default=2, help="of the engine (default %(default)s)")
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
    print("| stage | rounds | step, ms | stage longer by | step longer by, foretold | seen | foretold less seen |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for stage in stages:
        print(row(stage.name, [read_record(StageTurn, turn) for start in starts for turn in start[stage.name]]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
