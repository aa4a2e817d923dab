"""A process that stands by as vLLM's do, and counts what it writes by a counter of its own.

It writes spans of site 1 whose `value` is that counter, some with a request, some with a list between, until it is
told to end, and prints how many there were.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from enginescope_plugin import TRACE
from tracing.events import standing
from tracing.events.standing import Standing

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
import os, signal, sys, time
from tracing.events.layout import BATCH
from tracing.hooks import _recorder, recorder
seed, pause_s = int(sys.argv[2]), float(sys.argv[3])
recorder.begin(sys.argv[1], ["core"])
ended = False
def end(*_):
    global ended
    ended = True
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
count = 0
while not ended:
    for _ in range(500):
        _recorder.span(1, 1, f"request {(count + seed) // 40}", count, 0, count)
        if (count + seed) % 97 == 0:
            _recorder.batch(BATCH, {f"request {(count + seed) // 40}": number for number in range(count % 7)})
        count += _recorder.writing()
    time.sleep(pause_s)
print(count, flush=True)
"""


def folder_of(base: Path, standby: bool, ring_bytes: int = 3 << 20) -> Path:
    """A standing folder as the first process of an engine makes it."""
    folder = base / "standing"
    folder.mkdir(mode=0o700)
    (folder / standing.SWITCH).write_bytes(
        standing.SWITCH_BYTES.pack(standing.PAUSED if standby else standing.RECORDING, 0)
    )
    Standing(ring_bytes, standby, os.getpid(), "counting").write(folder)
    return folder


class CountingProcess:
    """The process; `end` gives its counter, None where it was killed."""

    def __init__(self, folder: Path, seed: int, pause_s: float, before: Sequence[str], more: Mapping[str, str]) -> None:
        command = [*before, sys.executable, "-c", PROGRAM, str(folder), str(seed), str(pause_s)]
        environ = {**os.environ, TRACE: str(folder), **more}  # others find the folder by it
        self._child = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True)
        assert self._child.stdout is not None
        self._output = self._child.stdout
        assert self._output.readline() == "ready\n"
        self.pid = self._child.pid

    def end(self, number: signal.Signals = signal.SIGTERM) -> int | None:
        self._child.send_signal(number)
        words = self._output.read().split()
        self._child.wait(30)
        self._output.close()
        return int(words[0]) if words else None


@contextmanager
def counting(
    folder: Path, seed: int = 0, pause_s: float = 0.001, before: Sequence[str] = (), **environ: str
) -> Iterator[CountingProcess]:
    """The process, behind the words of a command that runs it, for as long as the block lasts."""
    process = CountingProcess(folder, seed, pause_s, before, environ)
    try:
        yield process
    finally:
        if not process._output.closed:
            process.end(signal.SIGKILL)
