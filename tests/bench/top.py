"""What `tracing.top` costs the engine that it looks at: how much longer a step takes while the command works, times the
share of the time in which it does.

One engine under a closed loop of streams, which records all the time: what recording costs is what
`tests/bench/overhead.py` tells. The command is a process of its own. At first it looks every second, as it does for its
user, and its processor time is taken. Then it looks again and again without a pause, and is stopped (SIGSTOP) and goes
on (SIGCONT) in short blocks: rounds of three in random order, one with it and two without. A block's figure is the mean
wall time of its steps, from one delivery to the next. `looking / not` is the block with the command above the mean of
the two without, `not / not` one of these above the other, which should read zero. What a step grows by for each second
of the command's processor time in those blocks, times the share of a processor that it takes for its user, is the cost.
Without a pause nearly all of that time is looks, which come before the rest of its work in priority: an upper bound.

example: python tests/bench/top.py --shape one-gpu --seconds 200
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from probes.statistics.intervals import Estimate
from tests.bench.planted_stages import STREAMS, recorded_engine
from tracing.shapes.shape import shape_named
from tracing.timeline.intervals import Ints
from tracing.top.__main__ import PERIOD_S
from tracing.whatif.blocks import FEWEST, Block
from tracing.whatif.recording import BlockRecorder
from tracing.whatif.slopes import center
from tracing.whatif.steps import EngineSteps

ROOT = Path(__file__).resolve().parents[2]
BLOCK_S = 0.15
WARM_UP_S = 8.0  # of the command, until its window is full
USUAL_S = 30.0  # in which it looks as for its user
# The command without the switch, which is turned on already.
PROGRAM = """
import math, sys
from probes.console import console
from tracing.attach.engine import standing_engine
from tracing.top import __main__ as top
top.PERIOD_S = float(sys.argv[2])
top.step_back()
top.show(standing_engine(int(sys.argv[1])), console(), math.inf)
"""

Round = tuple[Block, Block, Block]  # with the command, and twice without


class LookingCommand:
    """The command on an engine: its process, and the one that it starts."""

    def __init__(self, pid: int) -> None:
        process = psutil.Process(pid)
        self.processes = [process, *process.children()]

    def used_s(self) -> float:
        """The processor time that they have taken."""
        return sum(each.cpu_times().user + each.cpu_times().system for each in self.processes)

    def stop(self) -> None:
        for process in self.processes:
            process.suspend()

    def go_on(self) -> None:
        for process in self.processes:
            process.resume()


@contextmanager
def looking_command(pid: int, period_s: float) -> Iterator[LookingCommand]:
    """The command on the engine of a process, with its window full; it ends with the block."""
    words = [sys.executable, "-c", PROGRAM, str(pid), str(period_s)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL) as child:
        try:
            time.sleep(WARM_UP_S)
            yield LookingCommand(child.pid)
        finally:
            child.kill()


def usual_share(pid: int) -> float:
    """The share of a processor that the command takes for its user."""
    with looking_command(pid, PERIOD_S) as command:
        before_s = command.used_s()
        time.sleep(USUAL_S)
        return (command.used_s() - before_s) / USUAL_S


def rounds(recorder: BlockRecorder, command: LookingCommand, seconds: float) -> Iterator[Round]:
    """Rounds of blocks, in each of which the command's turn comes at random; it is stopped in between."""
    command.stop()
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        turn, blocks = random.randrange(3), []
        for number in range(3):
            if number == turn:
                command.go_on()
            blocks.append(recorder.block(BLOCK_S))
            command.stop()
        looking = blocks.pop(turn)
        first, second = random.sample(blocks, 2)
        yield looking, first, second


def lengths_ns(block: Block, steps: EngineSteps) -> Ints:
    """The wall times of the steady steps that were delivered in a block, each after the one before it."""
    places = np.flatnonzero((steps.delivered_ns >= block.begin_ns) & (steps.delivered_ns <= block.end_ns))[1:]
    follows = (np.diff(steps.number)[places - 1] == 1) & steps.steady[places]
    return np.diff(steps.delivered_ns)[places[follows] - 1]


def lines(steps: EngineSteps, done: Sequence[Round], usual: float, in_blocks: float) -> Iterator[str]:
    """What came of it; the shares of a processor are those for its user and in the blocks with it."""
    taken = [[lengths_ns(block, steps) for block in blocks] for blocks in done]
    periods = [[float(each.mean()) for each in blocks] for blocks in taken if min(map(len, blocks)) >= FEWEST]
    step = center([(first + second) / 2 for _, first, second in periods])
    looking = center([2 * looking / (first + second) - 1 for looking, first, second in periods])
    cost = Estimate(*(end and end * usual / in_blocks for end in (looking.value, looking.low, looking.high)))
    yield f"a step of {step.value / 1e6:.2f} ms, {len(periods)} rounds"
    yield f"of a CPU: {usual:.2%} for its user, {in_blocks:.2%} in the blocks with it"
    yield f"looking / not  {said(looking)}"
    yield f"not / not      {said(center([second / first - 1 for _, first, second in periods]))}"
    yield f"a step costs   {said(cost)}"


def said(change: Estimate) -> str:
    low, high = ("n/a" if end is None else f"{end:+.2%}" for end in (change.low, change.high))
    return f"{change.value:+.2%} [{low}, {high}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="one-gpu")
    parser.add_argument("--seconds", type=float, default=200.0, help="of blocks (default %(default)s)")
    args = parser.parse_args()
    with ExitStack() as stack:
        recorder = recorded_engine(stack, shape_named(args.shape))
        pid = recorder.engine.standing.pid
        usual = usual_share(pid)
        command = stack.enter_context(looking_command(pid, 0.0))
        before_s = command.used_s()
        done = list(rounds(recorder, command, args.seconds))
        looked_s = sum(looking.end_ns - looking.begin_ns for looking, _, _ in done) / 1e9
        in_blocks = (command.used_s() - before_s) / looked_s
        print(*lines(recorder.recorded().steps(STREAMS), done, usual, in_blocks), sep="\n")


if __name__ == "__main__":
    main()
