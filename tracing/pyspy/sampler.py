"""Starts and stops py-spy over a tree of processes, and notes beside its file what that file does not say.

py-spy's trace events carry microseconds since py-spy began, which is no clock of ours. So a thread of this process, the
beacon, is sampled with the rest: it calls a function again and again whose *name* is the time of CLOCK_MONOTONIC at
which the call began. Every round of samples then holds the time it was taken at, between two stamps of the beacon.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType

import psutil

from enginescope_plugin import TRACE
from probes.errors import usage_error
from tracing.pyspy import titles
from tracing.pyspy.process import PySpy, py_spy
from tracing.pyspy.recording import Live, Recording

DEFAULT_RATE = 100
MOST_RATE = 1000
EVENTS, STAMPS, LOG = "pyspy-events.json", "pyspy-beacon.bin", "pyspy.log"
BEACON = "beacon "  # a beacon's frame is named this and its time
BEACON_S = 0.002
LIVE_PERIOD_S = 0.5  # how often it is noted which threads live: py-spy lets the stack of a dead one stand for ever
WRITE_TIMEOUT_S = 120.0  # py-spy writes everything at its end


def check_rate(rate: int) -> None:
    """Refuse a rate that makes no sense (exit code 2), and a missing py-spy, before anything is started."""
    if not 1 <= rate <= MOST_RATE:
        raise usage_error(f"a rate of {rate} samples a second is not between 1 and {MOST_RATE}; 100 is usual")
    py_spy()


@contextmanager
def sampled(folder: Path, rate: int) -> Iterator[None]:
    """Sample this process and all below it into `folder`, with a beacon; `EnginescopeError` where py-spy may not."""
    with Sampler(folder, os.getpid(), rate, beacon=True):
        yield


class Sampler:
    """py-spy on the tree of one process, from `__enter__` to `__exit__`."""

    def __init__(self, folder: Path, root: int, rate: int, beacon: bool) -> None:
        self.folder, self.root, self.rate, self.beacon = folder, root, rate, beacon
        self.stamps = array("q")
        self.live: Live = {}
        self.recorder = recorder_folder(root)
        self.done = threading.Event()
        self.threads: list[threading.Thread] = []

    def __enter__(self) -> Sampler:
        path = py_spy()
        words = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20).stdout
        self.version = words.strip()
        loops = (self._watch, self._shine) if self.beacon else (self._watch,)
        self.threads = [threading.Thread(target=loop, name=loop.__name__, daemon=True) for loop in loops]
        for thread in self.threads:
            thread.start()
        self.started_ns = time.monotonic_ns()
        try:
            self.pyspy = PySpy(self.root, self._options(), self.folder / LOG)
        except BaseException:
            self._end()
            raise
        return self

    def _end(self) -> None:
        """No more stamps; what py-spy wrote is cleared of keys."""
        self.done.set()
        for thread in self.threads:
            thread.join()
        titles.clear(self.folder / EVENTS)

    def _options(self) -> list[str]:
        shown = ["--idle", "--threads", "--full-filenames", "--format", "chrometrace"]
        return [*shown, "--rate", str(self.rate), "--output", str(self.folder / EVENTS)]

    def wait(self, seconds: float) -> None:
        """Let it sample for a while; ends sooner where all that it sampled has ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.pyspy.running:
            time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        early = not self.pyspy.running
        ended_ns = time.monotonic_ns()
        try:
            code = self.pyspy.stop(WRITE_TIMEOUT_S)
        finally:
            self._end()
        if code or (early and self.beacon):
            print(f"py-spy ended early or could not write (exit code {code}): see {self.folder / LOG}", file=sys.stderr)
        with (self.folder / STAMPS).open("wb") as file:
            self.stamps.tofile(file)
        Recording(
            *(self.version, self.rate, self.root, self.beacon),
            *(self.started_ns, ended_ns, early, code),
            live=self.live,
            recorder=self.recorder,
            sampler=os.getpid(),
        ).write(self.folder)

    # --- the two threads ---

    def _shine(self) -> None:
        """The beacon: a function that naps, each time under a new name."""
        while not self.done.is_set():
            begin = time.monotonic_ns()
            self.stamps.append(begin)
            name = f"{BEACON}{begin}"
            FunctionType(_nap.__code__.replace(co_name=name, co_qualname=name), globals())()

    def _watch(self) -> None:
        """Note when each thread of the tree was last alive."""
        while not self.done.wait(LIVE_PERIOD_S):
            try:
                root = psutil.Process(self.root)
                processes = [root, *root.children(recursive=True)]
            except psutil.Error:
                continue
            for process in processes:
                self._note(process)

    def _note(self, process: psutil.Process) -> None:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return
            threads = list(map(int, os.listdir(f"/proc/{process.pid}/task")))
        except (psutil.Error, OSError):
            return
        now = time.monotonic_ns()
        self.live.setdefault(process.pid, {}).update(dict.fromkeys(threads, now))


def _nap() -> None:
    time.sleep(BEACON_S)


def recorder_folder(root: int) -> str:
    """The folder into which a recorder in this tree of processes writes; '' where none runs, or it may not be asked."""
    try:
        processes = [psutil.Process(root), *psutil.Process(root).children(recursive=True)]
    except psutil.Error:
        return ""
    folders = (folder for process in processes if (folder := _environment(process).get(TRACE)))
    return next(folders, "")


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}
