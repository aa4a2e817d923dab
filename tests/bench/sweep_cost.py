"""What a sweep costs against the naive way, one engine a cell: wall time, and whether the figures agree.

The naive way does what `vllm bench latency` does: a fresh process for every cell, with our warm-up and our trials. It
runs on a seeded sample of cells (`--cells 0`: all of them) and its time is scaled up to the grid, as the output says.
The sweep's wall time is that of a whole run. To compare figures on a machine that drifts, each lone engine then runs
its trials in turns with an arm's engine that serves all its cells, the other frozen, and is not charged for that time.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
from offline.engine.process import start_process
from offline.records.runfolder import RunFolder
from offline.spec.grid import Arm, Cell, seed_of
from offline.spec.model import label
from offline.spec.models import Models
from offline.spec.plan import Plan, complete, plan
from offline.spec.spec import Spec
from offline.sweep.progress import SweepProgress
from offline.sweep.runner import Runner
from offline.sweep.trial import warm_up
from offline.table.statistics import Figure, mean_interval
from probes.checkpoint import default_model, two_layer_model
from probes.engineplatform import engine_platform
from probes.machine import fingerprint
from probes.processes.engine import EngineProcess
from tests.offline.runs import a_run

LIMIT_S = 600
Grid = list[tuple[Arm, list[Cell]]]


def sweep(planned: Plan, model: Path, scratch: Path) -> float:
    """Seconds of a whole sweep."""
    folder = RunFolder.create(scratch, a_run(model="bench", variant="sweep-cost"))
    runner = Runner(planned, folder, Models({label(model): model}), LIMIT_S)
    began = time.monotonic()
    with open(os.devnull, "w") as nowhere, SweepProgress(1, 0, 0, 0.0, Console(file=nowhere)) as progress:
        runner.run(progress)
    folder.close()
    return time.monotonic() - began


def started(arm: Arm, model: Path, log: Path) -> EngineProcess:
    process = start_process(log)
    process.ask({"do": "start", "settings": {**arm.settings, "model": str(model)}}, LIMIT_S)
    return process


def trial(process: EngineProcess, cell: Cell, seed: int) -> float:
    """Seconds of one trial of a frozen engine, which is frozen again after it."""
    process.thaw()
    done = process.ask({"do": "trial", "cell": asdict(cell), "seed": seed}, LIMIT_S)
    process.freeze()
    return (done["end_ns"] - done["start_ns"]) / 1e9


def compared(spec: Spec, arm: Arm, cell: Cell, model: Path, log: Path, together: EngineProcess) -> tuple[float, ...]:
    """A cell in an engine of its own, in turns with the arm's: seconds that the lone one took in all, then its trials,
    then the arm's trials."""
    began = time.monotonic()
    with started(arm, model, log) as lone:
        warm_up(spec, arm, [cell], lone, 0, LIMIT_S)
        lone.freeze()
        alone_s, together_s, lent = [], [], 0.0
        for index in range(spec.repeats):
            seed = seed_of(spec, arm, cell, index)
            alone_s.append(trial(lone, cell, seed))
            mark = time.monotonic()
            together_s.append(trial(together, cell, seed))
            lent += time.monotonic() - mark
        lone.thaw()
        lone.stop()
    return (time.monotonic() - began - lent, *alone_s, *together_s)


def close(a: Figure, b: Figure) -> bool:
    """Within 3 %, or intervals that meet."""
    meet = None not in (a.lo, a.hi, b.lo, b.hi) and a.lo <= b.hi and b.lo <= a.hi  # type: ignore[operator]
    return abs(a.mean / b.mean - 1) <= 0.03 or bool(meet)


def naive(spec: Spec, grid: Grid, model: Path, scratch: Path) -> Iterator[tuple[float, float, bool]]:
    """Per cell: seconds that it took alone, the arm's figure over the lone one's, and whether they agree."""
    for arm, cells in grid:
        with started(arm, model, scratch / "arm.log") as together:
            warm_up(spec, arm, list(arm.cells), together, 1, LIMIT_S)
            together.freeze()
            for cell in cells:
                seconds, *trials = compared(spec, arm, cell, model, scratch / "lone.log", together)
                alone, shared = mean_interval(trials[: spec.repeats]), mean_interval(trials[spec.repeats :])
                assert alone is not None and shared is not None
                ratio, agrees = shared.mean / alone.mean, close(shared, alone)
                words = f"batch {cell.batch_size:>2} {cell.cache_state} {arm.name}"
                figures = f"with its arm {shared.mean:.4f} s, alone {alone.mean:.4f} s, {ratio - 1:+.1%}"
                print(f"  {words:55} {figures} {'agrees' if agrees else 'DIFFERS'}", flush=True)
                yield seconds, ratio, agrees
            together.thaw()
            together.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: python tests/bench/sweep_cost.py --cells 0")
    parser.add_argument("--cells", type=int, default=6, help="cells of the naive way; 0 for all of the grid")
    parser.add_argument("--model", choices=("default", "two-layer"), default="two-layer")
    args = parser.parse_args()
    tiny = args.model == "two-layer"
    model, machine = two_layer_model() if tiny else default_model(), fingerprint(engine_platform())
    models = Models({label(model): model})
    spec, _ = complete(Spec(load_format="dummy" if tiny else "auto"), models, machine)
    planned = plan(spec, models, machine)
    grid = planned.grid
    everything = [(arm, cell) for arm in grid for cell in arm.cells]
    sample = random.Random(0).sample(everything, args.cells or len(everything))
    print(f"{args.model} model, {len(grid)} arms, {len(everything)} cells, {spec.repeats} trials and a warm-up each")
    with tempfile.TemporaryDirectory() as scratch:
        sweep_s = sweep(planned, model, Path(scratch))
        print(f"the sweep took {sweep_s:.0f} s", flush=True)
        chosen = [(arm, [cell for a, cell in sample if a is arm]) for arm in grid]
        rows = list(naive(spec, [(arm, cells) for arm, cells in chosen if cells], model, Path(scratch)))
    times, ratios, agree = zip(*rows, strict=True)
    whole = sum(times) / len(times) * len(everything)
    scaled = "measured" if len(sample) == len(everything) else f"scaled up from {len(sample)} cells, an estimate"
    print(f"figures agree on {sum(agree)} of {len(rows)} cells; ratios {min(ratios):.3f} to {max(ratios):.3f}")
    print(f"one engine a cell {whole:.0f} s ({scaled}; {min(times):.0f} to {max(times):.0f} s a cell), ", end="")
    print(f"sweep {sweep_s:.0f} s: {whole / sweep_s:.2f} times faster")


if __name__ == "__main__":
    main()
