"""What the recorder costs an engine: its decode steps with it against without.

This machine moves by tens of percent from second to second, and two engines of one configuration differ by percents, so
the figure that counts, `on / paused`, is taken inside one watched engine: a switch that all its processes read makes
every hook call through, and is turned every three to six steps, at random, while requests are decoded, by a thread that
comes before all others (SCHED_FIFO, for which this has to be root's). A trial's figure is the slope of the logarithm of
a step's period, from its start to the next one's, over the share of the period in which the recorder was on. A
comparison is the median of the trials' figures with its interval by order statistics, until the half-width is under
0.5 %, or to `--trials`. `nobody / nobody` is the same on an engine without the recorder, where the
switch is nobody's: it should read zero. What a hook costs that calls through is on both sides: `hooks` tells it, the
calls of a step times what one of them takes. `estimate` is what a review's first line says of the same engine, from the
calls around which the recorder measures itself.

With `--nvtx` ranges and marks are made though no tool listens, so that the figure is our part alone; run under nsys
(nsys profile -t nvtx -s none --cpuctxsw=none python tests/bench/overhead.py --nvtx) what it takes to write them is
in it.

`on / off` and `off / off` are between engines in processes of their own, all frozen but one, a trial of each in turns
(ABBA), for `--pairs`: by as much as `off / off` is not zero, `on / off` cannot be known better.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import math
import os
import random
import statistics
import sys
import tempfile
import threading
import time
import unittest.mock
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
from enginescope_plugin import LISTENER, NVTX, TRACE
from offline.engine.process import start_process
from offline.spec.grid import Arm, Cell
from offline.spec.model import label
from offline.spec.models import Models
from offline.spec.plan import complete, grid_of
from offline.spec.spec import Spec
from offline.variants.sender import come_first
from probes.checkpoint import default_model, two_layer_model
from probes.devices import nvtxlibrary
from probes.engineplatform import engine_platform
from probes.machine import fingerprint
from tracing import timeline
from tracing.breakdown.cost import recorder_cost
from tracing.events.step import STEP, Step
from tracing.hooks.recorder import SWITCH
from tracing.overhead.ledger import interval

LIMIT_S = 600
TARGET = 0.005
LEAST = 20
WARM_UPS = 12
STEPS_A_TURN = (3.0, 6.0)  # the switch stands for between so many steps; one after a turn has its caches from before
MOST_OFF = 4.5  # median distances from the median: a step that was interrupted counts as no further from it


class Switch:
    """Turns a byte to and fro, from `__enter__` to `__exit__`, and knows how it stood."""

    def __init__(self, path: Path, step_s: float, seed: int) -> None:
        self.path, self.step_s, self.random = path, step_s, random.Random(seed)
        self.turns: list[tuple[int, int, int]] = []  # before, after, how it stands since
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._turn)

    def __enter__(self) -> Switch:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()
        self._put(0)

    def _turn(self) -> None:
        come_first()  # core and worker spin on the cores: without it, of 145 turns in a trial there were 9
        stands = self.random.randrange(2)
        while not self.done.is_set():
            self._put(stands)
            stands = 1 - stands
            self.done.wait(self.step_s * self.random.uniform(*STEPS_A_TURN))

    def _put(self, stands: int) -> None:
        before = time.monotonic_ns()
        with self.path.open("r+b", buffering=0) as file:
            file.write(bytes([stands]))
        self.turns.append((before, time.monotonic_ns(), stands))

    def share_on(self, start: int, end: int) -> float:
        """The share of a time in which it stood at 0."""
        on = 0
        for (_, since, stands), until in zip(self.turns, [*(turn[0] for turn in self.turns[1:]), end], strict=True):
            on += max(min(until, end) - max(since, start), 0) if stands == 0 else 0
        return on / (end - start)


class Engine:
    """One engine, watched or not, frozen except while it runs a trial."""

    def __init__(self, arm: Arm, model: Path, log: Path, trace: Path | None, nvtx: bool) -> None:
        heard = {NVTX: str(nvtxlibrary.library()), LISTENER: os.environ.get(LISTENER, os.devnull)} if nvtx else {}
        watched = {TRACE: str(trace), **heard} if trace else {}
        self.switch = (trace or log.with_suffix("")) / SWITCH
        self.switch.parent.mkdir()
        self.switch.write_bytes(b"\0")
        with unittest.mock.patch.dict(os.environ, watched):
            self.process = start_process(log)
        self.process.send({"do": "start", "settings": {**arm.settings, "model": str(model)}})

    def steps(self, cell: Cell, seed: int) -> list[tuple[int, int]]:
        """A trial's decode steps: the start of each, and of the next one."""
        self.process.thaw()
        done = self.process.ask({"do": "trial", "cell": asdict(cell), "seed": seed}, LIMIT_S)
        self.process.freeze()
        steps = [Step(*row) for row in done["steps"]]
        starts = [s.start_ns for s in steps if s.kind == STEP and s.decode_requests and not s.prefill_requests]
        return list(itertools.pairwise(starts))

    def period(self, cell: Cell, seed: int) -> float:
        """A trial's median nanoseconds from one decode step to the next."""
        return statistics.median(end - start for start, end in self.steps(cell, seed))

    def turned(self, cell: Cell, seed: int, step_s: float) -> float:
        """By which share a step is longer with the switch at 0 than at 1."""
        with Switch(self.switch, step_s, seed) as switch:
            steps = self.steps(cell, seed)
        took = [math.log(end - start) for start, end in steps]
        middle = statistics.median(took)
        most = MOST_OFF * statistics.median(abs(each - middle) for each in took)
        took = [min(max(each, middle - most), middle + most) for each in took]
        return math.expm1(statistics.linear_regression([switch.share_on(*step) for step in steps], took).slope)


Trial = Callable[[Cell, int], float]


def alternate(engine: Engine, cell: Cell, most: int) -> str:
    """How much longer a step takes with the switch at 0, over trials."""
    step_s = min(engine.period(cell, 10_000 + number) for number in range(WARM_UPS)) / 1e9
    ratios: list[float] = []
    for number in range(most):
        ratios.append(engine.turned(cell, number, step_s))
        if len(ratios) >= LEAST and narrow(ratios):
            break
    return f"{summary_line(ratios, 'trials')} of a step of {step_s * 1e3:.2f} ms"


def narrow(ratios: list[float]) -> bool:
    change = interval(ratios)
    return change.lo is not None and change.hi is not None and change.hi - change.lo < 2 * TARGET


def summary_line(ratios: list[float], what: str) -> str:
    change = interval(ratios)
    return f"{change.median:+.2%} [{change.lo:+.2%}, {change.hi:+.2%}], {len(ratios)} {what}"


def compare(first: Trial, second: Trial, cell: Cell, most: int) -> str:
    """How much longer `second` takes than `first`, over pairs."""
    for number in range(WARM_UPS):
        for trial in (first, second):
            trial(cell, 10_000 + number)
    ratios: list[float] = []
    while len(ratios) < most and not (len(ratios) >= LEAST and narrow(ratios)):
        order = (first, second) if len(ratios) % 2 == 0 else (second, first)
        took = {trial: trial(cell, len(ratios)) for trial in order}
        ratios.append(took[second] / took[first] - 1)
    return summary_line(ratios, "pairs")


def paused_hook_ns(nvtx: bool) -> float:
    """What one hooked call costs while it calls through: of the dearer kind of hook, the fastest of some rounds."""
    from tracing.hooks.wrappers import table
    from tracing.sites.engine import ALL_SITES, CODES

    def nothing(argument: object) -> None:
        return None

    def took(function: Callable[[object], None]) -> int:
        start = time.perf_counter_ns()
        for _ in range(10_000):
            function(None)
        return time.perf_counter_ns() - start

    kinds = [table.wrapper_of(ALL_SITES[CODES[name]], nvtx)(nothing) for name in ("kv.lookup", "executor.wait")]
    return max(min(took(kind) - took(nothing) for _ in range(20)) / 10_000 for kind in kinds)


def hooks(engine: Engine, cell: Cell, trace: Path, nvtx: bool) -> str:
    """The hooked calls of a trial, over all processes, and what they take of it when they write nothing."""
    before = len(timeline.read(trace).spans)
    took = engine.period(cell, 99)
    calls, each = (len(timeline.read(trace).spans) - before) / cell.output_len, paused_hook_ns(nvtx)
    return f"{calls:.0f} calls a step of {each:.0f} ns are {calls * each / took:.2%} of it, all processes together"


def estimate(engine: Engine, cell: Cell, trace: Path) -> str:
    """What a review of some trials says that the recorder takes of a step."""
    begun = time.monotonic_ns()
    took = statistics.median(engine.period(cell, 20_000 + number) for number in range(WARM_UPS))
    recorded = timeline.read(trace)
    spans, costs = recorded.spans, recorded.costs
    trials = replace(recorded, spans=spans[spans["start_ns"] > begun], costs=costs[costs["at_ns"] > begun])
    cost = recorder_cost(trials, ())
    if cost.ns_per_step is None or cost.share is None:
        return "not measured"
    in_all = f"{cost.ns_per_step / took:.2%} of a step, {cost.ns_per_step / 1e3:.0f} µs in all threads"
    return f"{in_all}; {cost.share:.2%} of the busiest one's time"


def arm_of(model_name: str, batch_sizes: list[int], output_len: int) -> tuple[Arm, Path]:
    """The one arm that all engines are of, and its model."""
    tiny = model_name == "two-layer"
    model, machine = two_layer_model() if tiny else default_model(), fingerprint(engine_platform())
    partial = Spec(
        load_format="dummy" if tiny else "auto",
        batch_size=tuple(batch_sizes),
        block_size=(128,),
        prefix_caching=("off",),
        input_len=(32,),
        shared_prefix_len=(0,),
        output_len=(output_len,),
    )
    models = Models({label(model): model})
    spec, _ = complete(partial, models, machine)
    [arm] = grid_of(spec, models, machine)
    return arm, model


@contextlib.contextmanager
def running(arm: Arm, model: Path, scratch: Path, nvtx: bool) -> Iterator[list[Engine]]:
    """Two engines without the recorder and one that writes into `trace` below `scratch`, all started and frozen."""
    with contextlib.ExitStack() as stack:
        engines = []
        for name in ("off", "off too", "on"):
            engine = Engine(arm, model, scratch / f"{name}.log", scratch / "trace" if name == "on" else None, nvtx)
            stack.enter_context(engine.process)
            engine.process.receive(LIMIT_S)
            engine.process.freeze()
            engines.append(engine)
        yield engines
        for engine in engines:
            engine.process.thaw()
            engine.process.stop()


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(description=__doc__, epilog="example: python tests/bench/overhead.py --nvtx")
    result.add_argument("--model", choices=("default", "two-layer"), default="two-layer")
    result.add_argument("--batch-size", type=int, nargs="+", default=[1, 16])
    result.add_argument("--output-len", type=int, default=256)
    result.add_argument("--trials", type=int, default=400, help="the most trials of a comparison inside an engine")
    result.add_argument("--pairs", type=int, default=20, help="the most pairs of a comparison between engines")
    result.add_argument("--nvtx", action="store_true", help="the recorder with NVTX ranges")
    return result


def main() -> None:
    args = parser().parse_args()
    arm, model = arm_of(args.model, args.batch_size, args.output_len)
    with tempfile.TemporaryDirectory() as scratch, running(arm, model, Path(scratch), args.nvtx) as engines:
        off, off_too, on = engines
        watcher = "recorder and NVTX" if args.nvtx else "recorder"
        print(
            f"{args.model} model, {args.output_len} tokens out, {watcher}; time a step above that of an engine without",
            flush=True,
        )
        for cell in arm.cells:
            for name, measure in (
                ("on / paused", lambda cell=cell: alternate(on, cell, args.trials)),
                ("nobody / nobody", lambda cell=cell: alternate(off, cell, args.trials)),
                ("estimate", lambda cell=cell: estimate(on, cell, Path(scratch, "trace"))),
                ("hooks", lambda cell=cell: hooks(on, cell, Path(scratch, "trace"), args.nvtx)),
                ("on / off", lambda cell=cell: compare(off.period, on.period, cell, args.pairs)),
                ("off / off", lambda cell=cell: compare(off.period, off_too.period, cell, args.pairs)),
            ):
                print(f"  batch {cell.batch_size:>2}  {name:15} {measure()}", flush=True)


if __name__ == "__main__":
    main()
