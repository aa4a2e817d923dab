"""What looking at an engine as `tracing.top` does costs it, and takes of the machine.

One engine under its load is looked at as for a line a second. In each round nobody looks, then somebody does, and then
nobody again, for a block of steps each. The engine records all the time, so that the difference is the looking alone:
what recording costs is what `tracing.overhead` tells. `looked at / not` is the wall time of a step in the block
between, above the mean of those around it; `not / not` one of these above the other, which should read zero.

example: python tests/bench/top.py --shape one-gpu --seconds 240
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from math import inf
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.planted_stages import recorded_engine, steps_of
from tracing.top.__main__ import come_last, windows
from tracing.top.activity import EngineActivity
from tracing.top.screen import line
from tracing.whatif.blocks import FEWEST, Block
from tracing.whatif.recording import BlockRecorder
from tracing.whatif.slopes import center

LOOKS = 3  # a second each, in a block
CAUGHT_UP = 1  # looks before it: the first reads all that was recorded meanwhile

Round = tuple[Block, Block, Block]  # not looked at, looked at, not looked at


def look(views: Iterator[EngineActivity], count: int) -> float:
    """Look so many times; the seconds of CPU that it took."""
    begin_s = time.thread_time()
    for view in islice(views, count):
        line(view)
    return time.thread_time() - begin_s


def rounds(recorder: BlockRecorder, seconds: float) -> Iterator[tuple[Round, float]]:
    """Rounds, each with the share of a CPU that looking took."""
    views, until_s = windows(recorder.engine, inf), time.monotonic() + seconds
    with ThreadPoolExecutor(1, initializer=come_last) as pool:
        while time.monotonic() < until_s:
            before = recorder.block(LOOKS)
            pool.submit(look, views, CAUGHT_UP).result()
            looking = pool.submit(look, views, LOOKS)
            between = recorder.block(LOOKS)
            share = looking.result() / LOOKS
            yield (before, between, recorder.block(LOOKS)), share


def lines(recorder: BlockRecorder, done: Sequence[tuple[Round, float]]) -> Iterator[str]:
    """What came of it."""
    engine = recorder.recorded()
    columns = [steps_of(engine, each) for each in zip(*(blocks for blocks, _ in done), strict=True)]
    periods = [
        [each.period_ns for each in blocks]
        for blocks in zip(*columns, strict=True)
        if min(each.count for each in blocks) >= FEWEST
    ]
    usual = center([(before + after) / 2 for before, _, after in periods])
    share = center([share for _, share in done])
    yield f"a step of {usual.value / 1e6:.2f} ms, {len(periods)} rounds; looking took {share.value:.2%} of a CPU"
    for name, ratios in (
        ("looked at / not", [2 * between / (before + after) - 1 for before, between, after in periods]),
        ("not / not", [after / before - 1 for before, _, after in periods]),
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
        recorder = recorded_engine(stack, args.shape)
        print(*lines(recorder, list(rounds(recorder, args.seconds))), sep="\n")


if __name__ == "__main__":
    main()
