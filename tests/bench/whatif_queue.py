"""What the delays of `tracing.whatif` do on a real engine beside a pretend device, against a replay of its queue.

The engine has shape `one-gpu`, and its device works equally long on each step. What its core did in the steps without a
delay, from the end of each wait for the device to the launch and from there to the next wait, is replayed with each
delay, so that what the queue hides follows by arithmetic, of steps as uneven as they were. Slopes and the end of hiding
stand beside those, estimated alike. What a delay costs besides itself is not the queue's: the host's work may take
longer after one. So the queue is replayed once more with what the core did in the steps with the delay.

Example: python tests/bench/whatif_queue.py --device-ms 6 --stages schedule --seconds 120
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from probes.statistics.intervals import Estimate
from tests.bench.planted_stages import STREAMS, recorded_engine
from tests.tracing.whatif.loads.replayedqueue import HostSteps, QueueDelay, block_period_ns, replayed_slope
from tracing.shapes.pretend.work import Work
from tracing.shapes.shape import Shape, shape_named
from tracing.sites.engine import CODES
from tracing.timeline.intervals import union
from tracing.whatif.blocks import FEWEST, Block, Treatment, pairs
from tracing.whatif.loads.closedload import ClosedLoad
from tracing.whatif.measurement import LOOK_S, turns
from tracing.whatif.recording import BlockRecorder
from tracing.whatif.report.rows import interval, time_interval
from tracing.whatif.slopes import SizedSlope, center, end_of_hiding, sized_slope, stage_slope
from tracing.whatif.stages import DelayedStage, stages_named
from tracing.whatif.steps import RecordedEngine

LAUNCH, WAIT = "model.forward", "device.wait"
COLUMNS = ["delay, ms", "pairs", "slope", "by the queue", "with the host as it was then"]


def beside_device(device_ms: float) -> Shape:
    """The shape, with a device whose steps do not vary."""
    return replace(shape_named("one-gpu"), work=Work(device_ms, device_ms, device_ms, spread=0.0))


def measured(recorder: BlockRecorder, stages: Sequence[DelayedStage], seconds: float) -> list[Block]:
    """The blocks of a measurement."""
    look = recorder.block(LOOK_S)
    todo = ClosedLoad(STREAMS).plan(stages, look, recorder.recorded(), seconds)
    calls = {stage.name: 1.0 for stage in stages}
    return [recorder.block(todo.block_s), *turns(recorder, todo, calls, seed=0)]


def host_blocks(
    blocks: Sequence[Block], engine: RecordedEngine, treatment: Treatment | None = None
) -> Iterator[HostSteps]:
    """What the core did in the steady steps of each block with a delay, or without one."""
    [core] = engine.cores()
    steps, launches, waits = engine.steps(STREAMS), engine.spans(core, CODES[LAUNCH]), engine.spans(core, CODES[WAIT])
    launches = launches[np.isin(launches["step"], steps.number[steps.steady])]
    launch_ns = launches["start"].astype(np.int64)
    begin_ns, end_ns = union(waits["start"].astype(np.int64), waits["end"].astype(np.int64))
    launch_ns = launch_ns[launch_ns < begin_ns[-1]]
    for block in blocks:
        inside_ns = launch_ns[(launch_ns >= block.begin_ns) & (launch_ns <= block.end_ns)]
        following = np.searchsorted(begin_ns, inside_ns)
        if block.treatment == treatment and len(inside_ns) >= FEWEST:
            yield HostSteps(inside_ns - end_ns[following - 1], begin_ns[following] - inside_ns)


def replayed(stage: DelayedStage, size: SizedSlope, host: Sequence[HostSteps], device_ns: float) -> SizedSlope:
    """The slope at a size of a delay if the queue alone decided."""
    length_ns = size.achieved_ns
    delay = QueueDelay(device_ns=length_ns) if stage.on_device else QueueDelay(host_ns=length_ns)
    return SizedSlope(length_ns, replayed_slope(host, device_ns, delay), len(host))


def replayed_then(
    stage: DelayedStage, size: SizedSlope, host: Sequence[HostSteps], then: Sequence[HostSteps], device_ns: float
) -> Estimate:
    """The same with the host's steps as they were beside the delay, which is in them where it was the host's."""
    delay = QueueDelay(device_ns=size.achieved_ns) if stage.on_device else QueueDelay()
    plain_ns = float(np.median([block_period_ns(each, device_ns, QueueDelay()) for each in host]))
    return center([(block_period_ns(each, device_ns, delay) - plain_ns) / size.achieved_ns for each in then])


def table(
    stage: DelayedStage, sizes: Sequence[SizedSlope], by_queue: Sequence[SizedSlope], then: Sequence[Estimate]
) -> Iterator[str]:
    """A stage's slopes, and where its delays stop being hidden if they do."""
    yield f"\n{stage.name}\n\n| {' | '.join(COLUMNS)} |\n|{' ---: |' * len(COLUMNS)}"
    for size, other, beside in zip(sizes, by_queue, then, strict=True):
        slopes = (size.slope, other.slope, beside)
        cells = [f"{size.achieved_ns / 1e6:.2f}", str(size.pairs), *map(interval, slopes)]
        yield f"| {' | '.join(cells)} |"
    if up_to := stage_slope(sizes).hidden_up_to_ns:
        yield f"hidden up to {time_interval(up_to)}, by the queue {time_interval(end_of_hiding(*by_queue[-2:]))}"


def lines(device_ms: float, stages: Sequence[DelayedStage], seconds: float) -> Iterator[str]:
    """One start of the engine beside a device: its table."""
    with ExitStack() as stack:
        recorder = recorded_engine(stack, beside_device(device_ms), [WAIT])
        blocks = measured(recorder, stages, seconds)
        engine = recorder.recorded()
    host = list(host_blocks(blocks, engine))
    host_ns = np.concatenate([each.before_ns + each.after_ns for each in host])
    low, middle, high = np.quantile(host_ns, (0.05, 0.5, 0.95)) / 1e6
    yield f"\ndevice {device_ms:g} ms; the host's part of a step {middle:.2f} ms, nine in ten {low:.2f} to {high:.2f}"
    by_treatment = pairs(blocks, engine, STREAMS)
    for stage in stages:
        shortest_first = sorted(by_treatment.items(), key=lambda item: item[0].length_ns)
        own = {treatment: each for treatment, each in shortest_first if treatment.stage == stage and each}
        sizes = stage_slope([sized_slope(each, len(by_treatment)) for each in own.values()]).sizes
        steps_then = [list(host_blocks(blocks, engine, treatment)) for treatment in own]
        by_queue = [replayed(stage, size, host, device_ms * 1e6) for size in sizes]
        then = [
            replayed_then(stage, size, host, steps, device_ms * 1e6)
            for size, steps in zip(sizes, steps_then, strict=True)
        ]
        yield from table(stage, sizes, by_queue, then)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device-ms", type=float, nargs="+", default=[1.0, 6.0, 10.0], help="default 1, 6 and 10")
    parser.add_argument("--stages", default="schedule,work on device", help="default %(default)s")
    parser.add_argument("--seconds", type=float, default=100.0, help="of blocks beside each (default %(default)s)")
    args = parser.parse_args()
    for device_ms in args.device_ms:
        for line in lines(device_ms, stages_named(args.stages), args.seconds):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
