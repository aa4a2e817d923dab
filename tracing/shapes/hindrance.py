"""What holds an engine up on purpose: a worker slower than the others, and a neighbour on the same processor cores.

The neighbour works and rests in turns. Each writes down what it did: what happened to the engine, for sure.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from enginescope_plugin import TRACE
from probes.programs import OWN_PYTHON

STRAGGLER = "ENGINESCOPE_STRAGGLER_MS"  # by how much the last worker of several is slower in each step
STRAGGLER_FILE = "straggler.json"  # beside the trace: that worker's pid, and delay_ns of a step
NEIGHBOUR_FILE = (
    "neighbour.jsonl"  # beside the trace, a line a piece of work: core, begin_ns, end_ns of CLOCK_MONOTONIC
)
TURN_NS = 300_000_000
PIECE_NS = 20_000_000  # of a turn: a neighbour is killed in the midst of one, and what it did till then is written


def slow_last_worker(delay_ms: float) -> None:
    """The worker of the highest rank spins in each step before it runs the model."""
    from vllm.v1.worker.gpu_worker import Worker

    Worker.execute_model = spinning(Worker.execute_model, round(delay_ms * 1e6))


def spinning(original: Callable[..., Any], delay_ns: int) -> Callable[..., Any]:
    """`execute_model`, late in the last worker."""

    def execute_model(worker: Any, *args: Any, **kwargs: Any) -> Any:
        if worker.rank == worker.parallel_config.world_size - 1:
            _note_straggler(delay_ns)
            spin(delay_ns)
        return original(worker, *args, **kwargs)

    return execute_model


@functools.cache
def _note_straggler(delay_ns: int) -> None:
    """Write down, once, that this process is the slow one; only where it is recorded."""
    if TRACE in os.environ:
        Path(os.environ[TRACE], STRAGGLER_FILE).write_text(json.dumps({"pid": os.getpid(), "delay_ns": delay_ns}))


def spin(length_ns: int) -> None:
    """Work for so long."""
    end = time.monotonic_ns() + length_ns
    while time.monotonic_ns() < end:
        pass


@contextlib.contextmanager
def busy_neighbours() -> Iterator[None]:
    """While the block runs, a process on each usable core works and rests in turns; it begins when all of them have."""
    file = Path(os.environ[TRACE], NEIGHBOUR_FILE) if TRACE in os.environ else Path(os.devnull)
    program = "import sys; from tracing.shapes.hindrance import take_turns; take_turns(int(sys.argv[1]), sys.argv[2])"
    words = [*OWN_PYTHON, "-c", program]
    cores = sorted(os.sched_getaffinity(0))
    neighbours = [subprocess.Popen([*words, str(core), str(file)], stdout=subprocess.PIPE) for core in cores]
    try:
        for neighbour in neighbours:
            assert neighbour.stdout
            neighbour.stdout.readline()
        yield
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.communicate()


def take_turns(core: int, file: str) -> None:
    """Be the neighbour on a core, as long as the process that started it is there."""
    os.sched_setaffinity(0, {core})
    parent = os.getppid()
    with Path(file).open("a", buffering=1) as pieces:
        print("begun", flush=True)
        while os.getppid() == parent:
            turn_end = time.monotonic_ns() + TURN_NS
            while (begin := time.monotonic_ns()) < turn_end:
                spin(PIECE_NS)
                pieces.write(json.dumps({"core": core, "begin_ns": begin, "end_ns": time.monotonic_ns()}) + "\n")
            time.sleep(TURN_NS / 1e9)
