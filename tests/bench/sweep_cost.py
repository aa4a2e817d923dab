"""What a sweep costs against the naive way, one engine a cell: wall time, and whether the figures agree.

The naive way does what `vllm bench latency` does: a fresh process for every cell, with our warm-up and our trials. It
runs on a seeded sample of cells (`--cells 0`: all of them) and its time is scaled up to the grid, as the output says.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
from offline.grid import Arm, Cell, arms, seed_of
from offline.plan import base_settings, complete, engines_at_once
from offline.process import ArmProcess
from offline.progress import SweepProgress
from offline.runfolder import RunFolder
from offline.runner import Runner, warm_up
from offline.spec import Spec
from offline.statistics import Figure, mean_interval
from probes.checkpoint import default_model, two_layer_model
from probes.machine import fingerprint


def naive(spec: Spec, arm: Arm, cell: Cell, model: Path, log: Path) -> tuple[float, Figure]:
    """One cell in an engine of its own: seconds in all, and its elapsed time per trial."""
    began = time.monotonic()
    with ArmProcess(log) as process:
        process.ask({"do": "start", "settings": {**arm.settings, "model": str(model)}}, 600)
        warm_up(spec, arm, [cell], process, 0, 600)
        runs = [seed_of(spec, arm, cell, index) for index in range(spec.repeats)]
        done = [process.ask({"do": "trial", "cell": asdict(cell), "seed": seed}, 600) for seed in runs]
        process.stop()
    figure = mean_interval([(d["end_ns"] - d["start_ns"]) / 1e9 for d in done])
    assert figure is not None
    return time.monotonic() - began, figure


def close(a: Figure, b: Figure) -> bool:
    """Within 3 %, or intervals that meet."""
    meet = None not in (a.lo, a.hi, b.lo, b.hi) and a.lo <= b.hi and b.lo <= a.hi  # type: ignore[operator]
    return abs(a.mean / b.mean - 1) <= 0.03 or bool(meet)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: python tests/bench/sweep_cost.py --cells 0")
    parser.add_argument("--cells", type=int, default=6, help="cells of the naive way; 0 for all of the grid")
    parser.add_argument("--model", choices=("default", "two-layer"), default="two-layer")
    args = parser.parse_args()
    tiny = args.model == "two-layer"
    model, machine = two_layer_model() if tiny else default_model(), fingerprint()
    spec, _ = complete(Spec(load_format="dummy" if tiny else "auto"), model, machine)
    grid = arms(spec, base_settings(spec, model, machine))
    everything = [(arm, cell) for arm in grid for cell in arm.cells]
    with tempfile.TemporaryDirectory() as scratch:
        folder = RunFolder.create(Path(scratch), "bench", "sweep-cost", {})
        runner = Runner(spec, grid, folder, model, 600, engines_at_once(grid, model))
        began = time.monotonic()
        with SweepProgress(len(everything) * spec.repeats, 0, 0, Console(file=open("/dev/null", "w"))) as progress:
            runner.run(progress)
        sweep_s = time.monotonic() - began
        sample = random.Random(0).sample(everything, args.cells or len(everything))
        times = []
        print(
            f"{args.model} model, {len(grid)} arms, {len(everything)} cells, {spec.repeats} trials and a warm-up each"
        )
        for arm, cell in sample:
            seconds, alone = naive(spec, arm, cell, model, Path(scratch, "naive.log"))
            times.append(seconds)
            trials = [r for r in folder.records() if r["kind"] == "trial" and r["cell"] == arm.cell_id(cell)]
            together = mean_interval([trial["elapsed_s"] for trial in trials])
            assert together is not None
            words = f"batch {cell.batch_size:>2} {cell.cache_state} {arm.name}"
            figures = f"sweep {together.mean:.4f} s, alone {alone.mean:.4f} s, {together.mean / alone.mean - 1:+.1%}"
            print(f"  {words:55} {figures} {'agrees' if close(together, alone) else 'DIFFERS'}", flush=True)
        folder.close()
    whole = sum(times) / len(times) * len(everything)
    scaled = "measured" if len(sample) == len(everything) else f"scaled up from {len(sample)} cells, an estimate"
    spread = mean_interval(times)
    assert spread is not None
    print(
        f"naive {whole:.0f} s ({scaled}; {min(times):.0f}-{max(times):.0f} s a cell), sweep {sweep_s:.0f} s: ", end=""
    )
    print(f"{whole / sweep_s:.2f} times faster")


if __name__ == "__main__":
    main()
