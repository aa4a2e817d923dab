"""What `tracing.top` costs the engine that it looks at, and takes of the machine.

One engine under a closed loop of streams, and the command in a process of its own, which is stopped (SIGSTOP) and goes
on (SIGCONT) in blocks of a second. A round has three blocks in random order, one with the command and two without. The
engine records all the time, so that the difference is the looking alone: what recording costs is what
`tests/bench/overhead.py` tells. A block's figure is the mean wall time of its steps, from one delivery to the next.
`looked at / not` is the block with the command above the mean of the two without, `not / not` one of these above the
other, which should read zero. A command whose second has gone by while it was stopped looks as soon as it goes on, so
that each block with it has one look, as each second has without this bench.

example: python tests/bench/top.py --shape one-gpu --seconds 240
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.planted_stages import STREAMS, recorded_engine
from tracing.shapes.shape import shape_named
from tracing.timeline.intervals import Ints
from tracing.top.__main__ import PERIOD_S
from tracing.whatif.blocks import FEWEST, Block
from tracing.whatif.recording import BlockRecorder
from tracing.whatif.slopes import center
from tracing.whatif.steps import EngineSteps

ROOT = Path(__file__).resolve().parents[2]
WARM_UP_S = 8  # of the command, until its window is full
# The command without the switch, which is turned on already.
PROGRAM = """
import math, sys
from probes.console import console
from tracing.attach.engine import standing_engine
from tracing.top.__main__ import come_last, show
come_last()
show(standing_engine(int(sys.argv[1])), console(), math.inf)
"""


class PausedCommand:
    """The command on an engine, stopped but for some blocks; `cpu_s` is what it took in these."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self.child, self.process = child, psutil.Process(child.pid)
        self.cpu_s = 0.0

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Let it look for as long as the block lasts."""
        before = self._used_s()
        self.child.send_signal(signal.SIGCONT)
        yield
        self.child.send_signal(signal.SIGSTOP)
        self.cpu_s += self._used_s() - before

    def _used_s(self) -> float:
        times = self.process.cpu_times()
        return times.user + times.system


@contextmanager
def paused_command(pid: int) -> Iterator[PausedCommand]:
    """The command on the engine of a process, warm and stopped; it ends with the block."""
    words = [sys.executable, "-c", PROGRAM, str(pid)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL) as child:
        try:
            time.sleep(WARM_UP_S)
            child.send_signal(signal.SIGSTOP)
            yield PausedCommand(child)
        finally:
            child.kill()


@dataclass(frozen=True)
class LookedAtRound:
    """A block with the command, and two without."""

    looked_at: Block
    others: tuple[Block, Block]


def rounds(recorder: BlockRecorder, command: PausedCommand, seconds: float) -> Iterator[LookedAtRound]:
    """Rounds of blocks, in each of which the command's turn comes at random."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        turn, blocks = random.randrange(3), []
        for number in range(3):
            if number == turn:
                with command.going_on():
                    blocks.append(recorder.block(PERIOD_S))
            else:
                blocks.append(recorder.block(PERIOD_S))
        looked_at = blocks.pop(turn)
        random.shuffle(blocks)
        yield LookedAtRound(looked_at, (blocks[0], blocks[1]))


def lengths_ns(block: Block, steps: EngineSteps) -> Ints:
    """The wall times of the steady steps that were delivered in a block, each after the one before it."""
    places = np.flatnonzero((steps.delivered_ns >= block.begin_ns) & (steps.delivered_ns <= block.end_ns))[1:]
    follows = (np.diff(steps.number)[places - 1] == 1) & steps.steady[places]
    return np.diff(steps.delivered_ns)[places[follows] - 1]


def lines(recorder: BlockRecorder, done: Sequence[LookedAtRound], cpu_s: float) -> Iterator[str]:
    """What came of it."""
    steps = recorder.recorded().steps(STREAMS)
    taken = [[lengths_ns(block, steps) for block in (each.looked_at, *each.others)] for each in done]
    periods = [[float(each.mean()) for each in blocks] for blocks in taken if min(map(len, blocks)) >= FEWEST]
    usual = center([(first + second) / 2 for _, first, second in periods])
    looks_s = len(done) * PERIOD_S
    yield f"a step of {usual.value / 1e6:.2f} ms, {len(periods)} rounds; looking took {cpu_s / looks_s:.2%} of a CPU"
    for name, ratios in (
        ("looked at / not", [2 * looked_at / (first + second) - 1 for looked_at, first, second in periods]),
        ("not / not", [second / first - 1 for _, first, second in periods]),
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
        recorder = recorded_engine(stack, shape_named(args.shape))
        command = stack.enter_context(paused_command(recorder.engine.standing.pid))
        done = list(rounds(recorder, command, args.seconds))
        print(*lines(recorder, done, command.cpu_s), sep="\n")


if __name__ == "__main__":
    main()
