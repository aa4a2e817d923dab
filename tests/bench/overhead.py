"""What the recorder costs an engine: throughput with it against without, two engines in turns, and off against off.

Engines are separate processes; one is measured while the others are frozen. Trials come in ABBA order, and a pair is
one trial of each. A trial's figure is the median time from the start of one decode step to the next, which is what
throughput is made of: its wall time moves by tens of percent with whatever else a shared machine does, the median of
its steps by far less. A comparison is the median ratio of the pairs with its interval by order statistics; pairs go
on until the half-width of that is under 0.5 %, or to `--pairs`. `off / off` compares two engines without the recorder
and should read zero: by as much as it does not, two processes of the same engine differ on this machine, and `on /
off` cannot be known better than that. `on / paused` is therefore measured too, inside the one watched engine: its
hooks are there in both, but write in one only; what hooks cost that do not write is added from `hooks`, the calls of
a trial times what one of them takes.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
from offline.grid import Arm, Cell, arms
from offline.plan import base_settings, complete
from offline.process import ArmProcess
from offline.spec import Spec
from probes.checkpoint import default_model, two_layer_model
from probes.machine import fingerprint
from tracing import timeline
from tracing.ledger import interval
from tracing.plugin import NVTX, TRACE
from tracing.recorder import PAUSED
from tracing.steplog import STEP, Step

LIMIT_S = 600
TARGET = 0.005
LEAST_PAIRS = 20
WARM_UPS = 12
SETTLE_S = 0.06  # the recorder looks for its pause file every 20 ms


class Engine:
    """One engine, watched or not, frozen except while it runs a trial."""

    def __init__(self, arm: Arm, model: Path, log: Path, trace: Path | None, nvtx: bool) -> None:
        watched = {TRACE: str(trace), **({NVTX: "1"} if nvtx else {})} if trace else {}
        self.pause_file = trace / PAUSED if trace else None
        if trace:
            trace.mkdir()
        os.environ.update(watched)
        self.process = ArmProcess(log)
        for name in watched:
            del os.environ[name]
        self.process.send({"do": "start", "settings": {**arm.settings, "model": str(model)}})

    def period(self, cell: Cell, seed: int) -> float:
        """A trial's nanoseconds from one decode step to the next."""
        self.process.thaw()
        done = self.process.ask({"do": "trial", "cell": asdict(cell), "seed": seed}, LIMIT_S)
        self.process.freeze()
        return step_period_ns(done["steps"])

    def paused(self, cell: Cell, seed: int) -> float:
        """A trial in which the recorder writes nothing."""
        assert self.pause_file is not None
        self.pause_file.touch()
        self.process.thaw()
        time.sleep(SETTLE_S)
        took = self.period(cell, seed)
        self.pause_file.unlink()
        self.process.thaw()
        time.sleep(SETTLE_S)
        self.process.freeze()
        return took


def step_period_ns(rows: list[list[int]]) -> float:
    """The median time between the starts of decode steps that follow each other."""
    steps = [Step(*row) for row in rows]
    steps = [step for step in steps if step.kind == STEP and step.decode_requests and not step.prefill_requests]
    return statistics.median(after.start_ns - before.start_ns for before, after in itertools.pairwise(steps))


Trial = Callable[[Cell, int], float]


def compare(first: Trial, second: Trial, cell: Cell, most: int) -> str:
    """How much longer `second` takes than `first`, over pairs."""
    for number in range(WARM_UPS):
        for trial in (first, second):
            trial(cell, 10_000 + number)
    ratios: list[float] = []
    while len(ratios) < most:
        order = (first, second) if len(ratios) % 2 == 0 else (second, first)
        took = {trial: trial(cell, len(ratios)) for trial in order}
        ratios.append(took[second] / took[first] - 1)
        found = interval(ratios)
        if len(ratios) >= LEAST_PAIRS and found["hi"] - found["lo"] < 2 * TARGET:
            break
    return f"{found['median']:+.2%} [{found['lo']:+.2%}, {found['hi']:+.2%}], {len(ratios)} pairs"


def paused_hook_ns() -> float:
    """What one hooked call costs while nothing is written: the fastest of some rounds."""
    from tracing import _recorder

    def nothing(given: object) -> None:
        return None

    hooked, rounds = _recorder.Hook(nothing, 0), []
    for _ in range(20):
        times = []
        for function in (nothing, hooked):
            start = time.perf_counter_ns()
            for _ in range(10_000):
                function(None)
            times.append(time.perf_counter_ns() - start)
        rounds.append((times[1] - times[0]) / 10_000)
    return min(rounds)


def hooks(engine: Engine, cell: Cell, trace: Path) -> str:
    """The hooked calls of a trial, over all processes, and what they take of it when they write nothing."""
    before = len(timeline.read(trace).spans)
    took = engine.period(cell, 99)
    calls, each = (len(timeline.read(trace).spans) - before) / cell.output_len, paused_hook_ns()
    return f"{calls:.0f} calls a step of {each:.0f} ns are {calls * each / took:.2%} of it, all processes together"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: python tests/bench/overhead.py --nvtx")
    parser.add_argument("--model", choices=("default", "two-layer"), default="two-layer")
    parser.add_argument("--batch-size", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--output-len", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=400, help="the most pairs of a comparison")
    parser.add_argument("--nvtx", action="store_true", help="the recorder with NVTX ranges")
    args = parser.parse_args()
    tiny = args.model == "two-layer"
    model, machine = two_layer_model() if tiny else default_model(), fingerprint()
    given = Spec(
        load_format="dummy" if tiny else "auto",
        batch_size=tuple(args.batch_size),
        block_size=(128,),
        prefix_caching=("off",),
        input_len=32,
        shared_prefix_len=0,
        output_len=args.output_len,
    )
    spec, _ = complete(given, model, machine)
    [arm] = arms(spec, base_settings(spec, model, machine))
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        engines = []
        for name in ("off", "off too", "on"):
            trace = Path(scratch, "trace") if name == "on" else None
            engine = Engine(arm, model, Path(scratch, f"{name}.log"), trace, args.nvtx)
            stack.enter_context(engine.process)
            engine.process.receive(LIMIT_S)
            engine.process.freeze()
            engines.append(engine)
        off, off_too, on = engines
        watcher = "recorder and NVTX" if args.nvtx else "recorder"
        print(
            f"{args.model} model, {args.output_len} tokens out, {watcher}; time a step above that of an engine without",
            flush=True,
        )
        for cell in arm.cells:
            for name, first, second in (
                ("on / paused", on.paused, on.period),
                ("on / off", off.period, on.period),
                ("off / off", off.period, off_too.period),
            ):
                print(f"  batch {cell.batch_size:>2}  {name:12} {compare(first, second, cell, args.pairs)}", flush=True)
            print(f"  batch {cell.batch_size:>2}  {'hooks':12} {hooks(on, cell, Path(scratch, 'trace'))}", flush=True)
        for engine in engines:
            engine.process.thaw()
            engine.process.stop()


if __name__ == "__main__":
    main()
