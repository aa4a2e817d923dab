"""A real engine that stalls by name, and what each stall has to be called when it was kept."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from probes.checkpoint import two_layer_model
from probes.privacy.secretvalues import is_secret
from tests.engine.recording import FORKED, ROOT
from tests.engine.traced.stalling import COLLECT, FULL_CACHE, LONG_PROMPT, ORDER, SLEEP, SLOW_CLIENT
from tracing.attach.engine import StandingEngine, standing_engine
from tracing.events import processfile

STALL_NS = 600_000_000
# Takes a core from a moment on: a real-time thread, since by niceness alone sessions share it where they are grouped.
SPIN = """
import os, sys, time
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
os.sched_setaffinity(0, {int(sys.argv[1])})
print("ready", flush=True)
begin_s = float(sys.stdin.readline())
time.sleep(max(0.0, begin_s - time.time()))
while time.time() < begin_s + 0.8:
    pass
"""
SOON_S = 0.2  # until the last of them has been told when


@dataclass(frozen=True)
class Stall:
    """What is done, which condition it meets, and what its reason has to say (a pattern)."""

    name: str
    condition: str
    reason: str
    order: int = 0  # 0: done from outside


STALLS = (
    Stall("a sleep in the scheduler", "step > 400ms", r"^schedule took", SLEEP),
    Stall("a collection of a big heap", "step > 400ms", r"^garbage collection", COLLECT),
    Stall("a worker stopped by SIGSTOP", "step > 400ms", r"^the worker .* was stopped by a signal"),
    Stall("a full KV cache", "preempted", r"blocks of the KV cache were in use", FULL_CACHE),
    Stall("a slow client", "itl > 400ms", r"^wait: caller", SLOW_CLIENT),
    Stall("a long prompt beside short ones", "step > 100ms", r"^a long prompt", LONG_PROMPT),
    Stall("a neighbour that takes the cores", "itl > 400ms", r"^the machine was busy|^run queue"),
)


class StalledEngine:
    """The engine, and the file of its orders."""

    def __init__(self, orders: Path, engine: StandingEngine) -> None:
        self.orders, self.engine = orders, engine

    def stall(self, stall: Stall) -> None:
        """Let it happen."""
        if stall.order:
            with self.orders.open("r+b") as file:
                file.write(ORDER.pack(stall.order, STALL_NS))
        elif "SIGSTOP" in stall.name:
            worker = self._worker()
            os.kill(worker, signal.SIGSTOP)
            time.sleep(STALL_NS / 1e9)
            os.kill(worker, signal.SIGCONT)
        else:
            take_the_cores()

    def _worker(self) -> int:
        processes = [processfile.read(path) for path in self.engine.folder.glob("process-*.json")]
        return next(each.pid for each in processes if each and "worker" in each.serves)


def take_the_cores() -> None:
    """All of them at one moment, once each that will take one has started."""
    spinners = [_spinner(core) for core in os.sched_getaffinity(0)]
    for spinner in spinners:
        assert spinner.stdout is not None and spinner.stdout.readline() == "ready\n"
    begin_s = time.time() + SOON_S
    for spinner in spinners:
        assert spinner.stdin is not None
        spinner.stdin.write(f"{begin_s}\n")
        spinner.stdin.flush()
    for spinner in spinners:
        spinner.communicate()


def _spinner(core: int) -> subprocess.Popen[str]:
    line = [sys.executable, "-c", SPIN, str(core)]
    return subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@contextlib.contextmanager
def stalling(folder: Path) -> Iterator[StalledEngine]:
    """An engine that stalls when it is told to, with a ring."""
    orders = folder / "orders"
    orders.write_bytes(ORDER.pack(0, 0))
    script = ROOT / "tests" / "engine" / "traced" / "stalling.py"
    public = {name: value for name, value in os.environ.items() if not is_secret(name, value)}
    child = subprocess.Popen(
        [sys.executable, str(script), str(two_layer_model()), str(orders)],
        cwd=ROOT,
        env=public | FORKED | {"ENGINESCOPE_RING": "60s"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None
    try:
        assert "ready\n" in iter(child.stdout.readline, "")
        engine = standing_engine(child.pid)
        assert engine is not None
        yield StalledEngine(orders, engine)
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
