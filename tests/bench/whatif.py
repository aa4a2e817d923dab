"""What the intervals of `tracing.whatif` are worth: on simulated engines, and on a stand-in of real processes.

Simulated: a machine whose speed moves and that stalls now and then. `missed` is the share of runs in which any interval
of the stages does not hold the slope of a long run with the delay against one without, `false alarms` that in which a
hidden stage is said to pay. `width` is that of an interval, on the mean. The stand-in has a pretend device, real
recorders and real delays, on the host and on the device: slopes stand beside what the device's queue gives, which hides
of a delay what the other side takes more, as the first stand-in has the host's part of a step.

Example: python tests/bench/whatif.py --runs 40
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.tracing.whatif.loads.simulatedengine import MS, STREAMS, SimulatedEngine, delay, treated
from tests.tracing.whatif.standinengine import stand_in
from tracing.whatif.answer import WhatIfAnswer
from tracing.whatif.blocks import Treatment, pairs
from tracing.whatif.measurement import Measurement
from tracing.whatif.slopes import SizedSlope, sized_slope
from tracing.whatif.stages import asleep, stages_named

BLOCK_NS = 250 * MS
UNSTEADY = 0.08  # of the machine's speed, from step to step and within a block
LONG_NS = 100_000 * MS
HIDDEN = 0.05
ENGINES = {"host-bound": (3 * MS, MS), "in between": (3 * MS, 4 * MS), "device-bound": (3 * MS, 10 * MS)}


def truth(times: tuple[int, int], treatment: Treatment) -> float:
    """The slope of an engine that moves as in `simulated`, but has no stalls, over many blocks."""
    periods = []
    for turn in (treatment, None):
        engine = SimulatedEngine(*times, MS // 2, unsteady=UNSTEADY, stalls=False)
        engine.run([turn], LONG_NS)
        delivered_ns = engine.recorded().steps(STREAMS).delivered_ns
        periods.append((delivered_ns[-1] - delivered_ns[0]) / (len(delivered_ns) - 1))
    return float(periods[0] - periods[1]) / treatment.length_ns


def treatments_of(times: tuple[int, int]) -> list[Treatment]:
    """Two delays in the core, and two in the front end."""
    return [delay(stage, max(times) * share // 10) for stage in ("schedule", "process outputs") for share in (4, 8)]


def simulated(times: tuple[int, int], rounds: int, seed: int) -> list[SizedSlope]:
    """The measured slope of each treatment."""
    engine = SimulatedEngine(*times, MS // 2, unsteady=UNSTEADY, seed=seed)
    treatments, draw = treatments_of(times), random.Random(seed)
    turns = [turn for _ in range(rounds) for turn in draw.sample(treatments, len(treatments))]
    slopes = pairs(engine.run(treated(*turns), BLOCK_NS), engine.recorded(), STREAMS)
    return [sized_slope(slopes[treatment], len(treatments)) for treatment in treatments]


def holds(truth: float, measured: SizedSlope) -> bool:
    low, high = measured.slope.low, measured.slope.high
    return low is not None and high is not None and low <= truth <= high


def simulate(runs: int) -> None:
    print("| simulated engine | pairs | seconds | missed | false alarms | width |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, times in ENGINES.items():
        truths = [truth(times, treatment) for treatment in treatments_of(times)]
        for rounds in (10, 40):
            every = [list(zip(truths, simulated(times, rounds, seed), strict=True)) for seed in range(runs)]
            missed = np.mean([not all(holds(*cell) for cell in cells) for cells in every])
            alarms = np.mean([any(t < HIDDEN and (m.slope.low or 0) > 0 for t, m in cells) for cells in every])
            width = np.mean([(m.slope.high or 0) - (m.slope.low or 0) for cells in every for _, m in cells])
            seconds = 2 * rounds * len(truths) * BLOCK_NS / 1e9
            print(f"| {name} | {rounds} | {seconds:.0f} | {missed:.1%} | {alarms:.1%} | {width:.2f} |", flush=True)


def stand_ins(budget_s: float) -> None:
    print(
        "\n| stand-in, ms of host and device | stage | step | delay | slope | by arithmetic | hidden | by arithmetic |"
    )
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    host_part_ns = 0.0
    for name, (host_ns, device_ns) in ENGINES.items():
        with tempfile.TemporaryDirectory() as scratch, stand_in(Path(scratch), host_ns, device_ns) as engine:
            chosen = [asleep(stage) for stage in stages_named("schedule,work on device")]
            answer = Measurement(engine, chosen, STREAMS, lambda: True).run(budget_s, 0, lambda words: None)
        assert isinstance(answer, WhatIfAnswer)
        host_part_ns = host_part_ns or answer.step_ns
        title = f"{name}, {host_ns / MS:g} and {device_ns / MS:g}"
        parts_ns = (host_part_ns, device_ns)
        for stage, part_ns in zip(answer.stages, parts_ns, strict=True):
            idle_ns = answer.step_ns - part_ns if part_ns < max(parts_ns) else 0.0
            for size in stage.slope.sizes:
                print(f"| {title} | {stage.name} | {' | '.join(cells(size, answer.step_ns, idle_ns))} |", flush=True)


def cells(size: SizedSlope, step_ns: float, idle_ns: float) -> list[str]:
    """A step, the delay, and what it did beside what it should have done where it hides in `idle_ns` of each step."""
    hidden_ns = min(idle_ns, size.achieved_ns)
    slopes = [f"{slope:.2f}" for slope in (size.slope.value, 1 - hidden_ns / size.achieved_ns)]
    times_ns = (step_ns, size.achieved_ns, size.hidden.value, hidden_ns)
    step, achieved, *hidden = (f"{time_ns / MS:.2f}" for time_ns in times_ns)
    return [step, achieved, *slopes, *hidden]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="simulated runs of each engine (default %(default)s)")
    parser.add_argument("--budget", type=float, default=40.0, help="seconds of each stand-in (default %(default)s)")
    args = parser.parse_args()
    simulate(args.runs)
    stand_ins(args.budget)
    return 0


if __name__ == "__main__":
    sys.exit(main())
