"""Starts and stops py-spy over a tree of processes, and notes beside its file what that file does not say.

py-spy's trace events carry microseconds since py-spy began, which is no clock of ours. So a thread of this process, the
beacon, is sampled with the rest: it calls a function again and again whose *name* is the time of CLOCK_MONOTONIC at
which the call began. Every round of samples then holds the time it was taken at, between two stamps of the beacon.
"""

from __future__ import annotations

import os
import signal
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
from probes.errors import EnginescopeError, usage_error
from probes.privacy.secretvalues import is_secret
from probes.programs import program
from tracing.pyspy import titles
from tracing.pyspy.recording import Live, Recording

DEFAULT_RATE = 100
MOST_RATE = 1000
EVENTS, STAMPS, LOG = "pyspy-events.json", "pyspy-beacon.bin", "pyspy.log"
BEACON = "beacon "  # a beacon's frame is named this and its time
BEACON_S = 0.002
LIVE_PERIOD_S = 0.5  # how often it is noted which threads live: py-spy lets the stack of a dead one stand for ever
START_TIMEOUT_S = 30.0
WRITE_TIMEOUT_S = 120.0  # py-spy writes everything at its end

NO_PYTHON = "No python processes found"
REFUSED = (
    "ptrace was refused; run as root (Docker: --cap-add SYS_PTRACE), or: sudo sysctl -w kernel.yama.ptrace_scope=0"
)
# What py-spy says when it cannot, and what to do; the first that is found in its words.
REMEDIES = (
    ("permission denied", REFUSED),
    ("operation not permitted", REFUSED),
    ("python version", "not a Python that it knows; name a Python process, or: pip install -U py-spy"),
    ("process executable name", "the process ended before py-spy saw it; look for one that runs with: ps aux"),
)


def py_spy() -> Path:
    """py-spy on PATH or beside this Python; `EnginescopeError` where there is none."""
    path = program("py-spy")
    if path is None:
        raise EnginescopeError("py-spy is neither on the PATH nor beside this Python: pip install py-spy")
    return path


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
            with (self.folder / LOG).open("w") as log:  # in a session of its own: a terminal's Ctrl-C is the command's
                self.process = subprocess.Popen(
                    [path, *self._options()],
                    env={name: value for name, value in os.environ.items() if not is_secret(name, value)},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            self._await_first_sample()
        except BaseException:
            self.done.set()
            if hasattr(self, "process"):
                self._kill()
            raise
        return self

    def _kill(self) -> None:
        """End py-spy, which has a session of its own and would go on after us; what it wrote is cleared of keys."""
        self.process.kill()
        self.process.wait()
        titles.clear(self.folder / EVENTS)

    def _options(self) -> list[str]:
        shown = ["--subprocesses", "--idle", "--threads", "--full-filenames", "--format", "chrometrace"]
        where = ["--pid", str(self.root), "--rate", str(self.rate), "--output", str(self.folder / EVENTS)]
        return ["record", *shown, *where]

    def _await_first_sample(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while "Sampling process" not in self.log():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                words = self.log()
                (self.folder / LOG).unlink()
                raise EnginescopeError(refusal(self._reason(words), self.root))
            time.sleep(0.02)

    def _reason(self, words: str) -> str:
        """Over a tree py-spy says only that it found no Python; asked about the one process it says why."""
        if NO_PYTHON not in words:
            return words
        command = [str(py_spy()), "dump", "--pid", str(self.root)]
        return subprocess.run(command, capture_output=True, text=True, timeout=START_TIMEOUT_S).stderr

    def log(self) -> str:
        return (self.folder / LOG).read_text(errors="replace")

    def wait(self, seconds: float) -> None:
        """Let it sample for a while; ends sooner where all that it sampled has ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        early = self.process.poll() is not None
        ended_ns = time.monotonic_ns()
        if not early:
            self.process.send_signal(signal.SIGINT)
        try:
            code = self.process.wait(WRITE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        except BaseException:
            self.done.set()
            self._kill()
            raise
        if code or (early and self.beacon):
            print(f"py-spy ended early or could not write (exit code {code}): see {self.folder / LOG}", file=sys.stderr)
        self.done.set()
        for thread in self.threads:
            thread.join()
        titles.clear(self.folder / EVENTS)
        with (self.folder / STAMPS).open("wb") as file:
            self.stamps.tofile(file)
        Recording(
            *(self.version, self.rate, self.root, self.beacon),
            *(self.started_ns, ended_ns, early, code),
            live=self.live,
            recorder=self.recorder,
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


def refusal(log: str, pid: int) -> str:
    """One line for what py-spy printed when it did not start."""
    for words, remedy in REMEDIES:
        if words in log.lower():
            return f"py-spy could not sample process {pid}: {remedy}"
    first = next((line for line in log.splitlines() if line.strip()), "it printed nothing")
    return f"py-spy could not sample process {pid}: {first}; try: py-spy dump --pid {pid}"
