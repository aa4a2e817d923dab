"""What `tracing.whatif` foretells for a slower stage, against engines whose source is slower there.

One engine is measured by delays. Then plain engines and engines with a delay in the source of a stage are started in
turns, and the wall time of a step is taken in each without a delay of the recorder's: by how much it grew stands beside
what the slope foretells for what the stage's own time grew by. The spread of plain engines tells what the comparison is
worth on this machine. What an engine told is kept in a folder, and not asked again.

Example: python tests/bench/planted_stages.py --stages schedule --starts 1 --budget 60 --folder build/planted
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from probes.jsonform import encoded, read_record
from tests.bench.planting.sitecustomize import VARIABLE
from tracing.attach.engine import StandingEngine
from tracing.attach.switch import turned_on
from tracing.events.delays import FILE
from tracing.shapes.shape import shape_named
from tracing.sites.engine import ALL_SITES
from tracing.whatif.blocks import without_delay
from tracing.whatif.engine.delayfile import DelayFile
from tracing.whatif.engine.started import loaded_engine
from tracing.whatif.loads.seenload import find_load
from tracing.whatif.measurement import START_S, Measurement
from tracing.whatif.recording import BlockRecorder
from tracing.whatif.report import reported
from tracing.whatif.stages import STAGES, DelayedStage, stages_named

STREAMS, BLOCK_S = 8, 0.5
DEFAULT = "schedule,update,process outputs,prepare,sample"
PLANTING = Path(__file__).parent / "planting"

Lives = Callable[[], bool]


@dataclass(frozen=True)
class SteadyEngine:
    """The wall time of a step of one start, and what each stage takes of it, in ns."""

    step_ns: float
    stage_ns: dict[str, float]


@contextmanager
def engine(shape: str, stage: DelayedStage | None, length_ms: float) -> Iterator[tuple[StandingEngine, Lives]]:
    """An engine under its load, with a delay in the source of a stage where one is given, and whether it still runs."""
    with tempfile.TemporaryDirectory() as scratch, planting(stage, length_ms):
        started = loaded_engine(shape_named(shape), STREAMS, 0.0, "", Path(scratch, "log"))
        with started as (standing, child):
            yield standing, lambda: child.running


@contextmanager
def planting(stage: DelayedStage | None, length_ms: float) -> Iterator[None]:
    """The environment in which Python plants a delay."""
    if stage is None:
        yield
        return
    before = dict(os.environ)
    os.environ[VARIABLE] = f"{ALL_SITES[stage.code].targets[0]} {length_ms}"
    os.environ["PYTHONPATH"] = os.pathsep.join([str(PLANTING), *filter(None, [before.get("PYTHONPATH")])])
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def foretold(path: Path, shape: str, stages: list[DelayedStage], budget_s: float) -> dict[str, Any]:
    """What one plain engine says of the stages, in the JSON form of the answer."""
    if not path.exists():
        with engine(shape, None, 0) as (standing, lives):
            measurement = Measurement(standing, stages, STREAMS, lives)
            answer = measurement.run(budget_s, 0, lambda words: print(words, file=sys.stderr))
        path.write_text(reported.as_json(answer))
    values: dict[str, Any] = json.loads(path.read_text())
    return values


def steady(path: Path, shape: str, stage: DelayedStage | None, length_ms: float, seconds: float) -> SteadyEngine:
    """One start, without delays of the recorder's."""
    if not path.exists():
        with engine(shape, stage, length_ms) as (standing, lives):
            path.write_bytes(encoded(watched(standing, lives, seconds)))
    return read_record(SteadyEngine, json.loads(path.read_text()))


def watched(standing: StandingEngine, lives: Lives, seconds: float) -> SteadyEngine:
    """The steps of an engine for so long."""
    with turned_on(standing), DelayFile(standing.folder / FILE) as delays:
        recorder = BlockRecorder(standing, delays, lives)
        find_load(recorder, STREAMS, START_S)
        blocks = [recorder.block(BLOCK_S) for _ in range(round(seconds / BLOCK_S))]
        recorded = recorder.recorded()
    steps = without_delay(blocks, recorded.steps(STREAMS))
    times = {name: recorded.time_ns(stage, steps.windows) / steps.count for name, stage in STAGES.items()}
    return SteadyEngine(steps.period_ns, times)


def row(answer: dict[str, Any], plain: list[SteadyEngine], slower: list[SteadyEngine]) -> str:
    """A line of the table."""
    name = answer["stage"]
    step_ns = mean([each.step_ns for each in plain])
    grown_ns = mean([each.stage_ns[name] for each in slower]) - mean([each.stage_ns[name] for each in plain])
    seen_ns = mean([each.step_ns for each in slower]) - step_ns
    nearest = min(answer["sizes"], key=lambda size: abs(size["achieved_ns"] - grown_ns))
    spread_ns = max(each.step_ns for each in plain) - min(each.step_ns for each in plain)
    times = (step_ns, spread_ns, grown_ns, nearest["slope"] * grown_ns, seen_ns)
    return f"| {name} | {' | '.join(f'{each / 1e6:.2f}' for each in times)} |"


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--shape", default="one-gpu")
    arguments.add_argument("--stages", default=DEFAULT)
    arguments.add_argument("--length-ms", type=float, default=1.0, help="of the planted delay (default %(default)s)")
    arguments.add_argument("--starts", type=int, default=2, help="of each engine (default %(default)s)")
    arguments.add_argument("--seconds", type=float, default=20.0, help="of each start (default %(default)s)")
    arguments.add_argument("--budget", type=float, default=150.0, help="seconds of what-if (default %(default)s)")
    arguments.add_argument("--folder", type=Path, default=Path("build/planted"), help="default: %(default)s")
    return arguments


def main() -> int:
    args = parser().parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    stages = stages_named(args.stages)
    answer = foretold(args.folder / "whatif.json", args.shape, stages, args.budget)
    starts: dict[str, list[SteadyEngine]] = {name: [] for name in ("plain", *(stage.name for stage in stages))}
    for start in range(args.starts):
        for name, stage in [("plain", None), *((stage.name, stage) for stage in stages)]:
            path = args.folder / f"{name.replace(' ', '-')}-{start}.json"
            starts[name].append(steady(path, args.shape, stage, args.length_ms, args.seconds))
    print("| stage | step, ms | apart in plain starts | stage grew by | step grew by, foretold | seen |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for each in answer["stages"]:
        print(row(each, starts["plain"], starts[each["stage"]]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
