"""What looking at an engine with `tracing.top` costs it, and takes of the machine.

One engine under its load is looked at by a `tracing.top` that prints a line a second. In each round that is frozen,
awake and frozen again, in blocks of steps. The engine records all the time, so that the difference is the looking
alone: what recording costs is what `tracing.overhead` tells. `awake / frozen` is the wall time of a step in the block
between, above the mean of those around it; `frozen / frozen` one of these above the other, which should read zero.

example: python tests/bench/top.py --shape one-gpu --seconds 240
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from probes.processes.child import ChildProcess
from probes.programs import OWN_PYTHON
from tracing.attach.switch import turned_on
from tracing.events.delays import FILE
from tracing.shapes.shape import shape_named
from tracing.whatif.blocks import FEWEST, Block, BlockSteps, cut, usual_lag
from tracing.whatif.engine.delayfile import DelayFile
from tracing.whatif.engine.started import loaded_engine
from tracing.whatif.loads.seenload import find_load
from tracing.whatif.measurement import START_S
from tracing.whatif.recording import BlockRecorder
from tracing.whatif.slopes import center

STREAMS, BLOCK_S = 8, 2.0
CAUGHT_UP_S = 1.5  # after it was frozen: it first reads what was recorded meanwhile
SETTLED_S = 8.0  # until its window of five seconds is full

Round = tuple[Block, Block, Block]  # frozen, awake, frozen


def rounds(recorder: BlockRecorder, top: ChildProcess, seconds: float) -> Iterator[tuple[Round, float]]:
    """Rounds, each with the share of a CPU that `top` took while it was awake."""
    process, until_s = psutil.Process(top.pid), time.monotonic() + seconds
    recorder.block(SETTLED_S)
    while time.monotonic() < until_s:
        top.freeze()
        before = recorder.block(BLOCK_S)
        top.thaw()
        recorder.block(CAUGHT_UP_S)
        cpu_s, begin_s = sum(process.cpu_times()[:2]), time.monotonic()
        awake = recorder.block(BLOCK_S)
        share = (sum(process.cpu_times()[:2]) - cpu_s) / (time.monotonic() - begin_s)
        top.freeze()
        yield (before, awake, recorder.block(BLOCK_S)), share
        top.thaw()


def steps_of(recorder: BlockRecorder, blocks: Sequence[Block]) -> list[BlockSteps]:
    steps = recorder.recorded().steps(STREAMS)
    lag_ns = usual_lag(steps, blocks)
    return [cut(block, steps, lag_ns) for block in blocks]


def lines(recorder: BlockRecorder, done: Sequence[tuple[Round, float]]) -> Iterator[str]:
    """What came of it."""
    columns = [steps_of(recorder, each) for each in zip(*(blocks for blocks, _ in done), strict=True)]
    periods = [
        [each.period_ns for each in blocks]
        for blocks in zip(*columns, strict=True)
        if min(each.count for each in blocks) >= FEWEST
    ]
    usual = center([(before + after) / 2 for before, _, after in periods])
    share = center([share for _, share in done])
    yield f"a step of {usual.value / 1e6:.2f} ms, {len(periods)} rounds; top took {share.value:.2%} of a CPU"
    for name, ratios in (
        ("awake / frozen", [2 * awake / (before + after) - 1 for before, awake, after in periods]),
        ("frozen / frozen", [after / before - 1 for before, _, after in periods]),
    ):
        change = center(ratios)
        low, high = ("n/a" if end is None else f"{end:+.2%}" for end in (change.low, change.high))
        yield f"{name:15}  {change.value:+.2%} [{low}, {high}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="one-gpu")
    parser.add_argument("--seconds", type=float, default=240.0, help="default %(default)s")
    args = parser.parse_args()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        standing, child = stack.enter_context(
            loaded_engine(shape_named(args.shape), STREAMS, 0.0, "", scratch / "engine.log")
        )
        stack.enter_context(turned_on(standing))
        delays = stack.enter_context(DelayFile(standing.folder / FILE))
        recorder = BlockRecorder(standing, delays, lambda: child.running)
        find_load(recorder, STREAMS, START_S)
        words = [*OWN_PYTHON, "-m", "tracing.top", str(standing.standing.pid)]
        top = ChildProcess(words, scratch / "top.log", dict(os.environ))
        stack.callback(top.end)
        done = list(rounds(recorder, top, args.seconds))
        print(*lines(recorder, done), sep="\n")
        print(top.logged().splitlines()[-1])


if __name__ == "__main__":
    main()
