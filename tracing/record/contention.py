"""Samples how long the machine kept the engine's threads from running, while a command is recorded.

Read from outside, by the recorder's own process: the engine's threads do nothing for it. Each value is a total that
only grows, so what lies between two samples is a difference, and a lost sample loses nothing.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from itertools import chain
from pathlib import Path

from probes.columns import FILE as DICTIONARY
from probes.columns import sections
from probes.errors import EnginescopeError
from probes.processes.sidethread import beside
from tracing.events import processfile
from tracing.events.contention import ABOUT, COLUMNS, FILE, STEAL, STOPPED, THREAD, THROTTLED, ContentionSample
from tracing.events.processfile import pid_of

Key = tuple[str, int, int]  # source, process, thread
Row = tuple[int, str, int, int, int]  # of `COLUMNS`
HEAD = ",".join(COLUMNS) + "\n"
PERIOD_S = 0.1
ROLLING_NS = 60_000_000_000
KEEPER = "enginescope"  # the recorder's own thread in each process, which is no part of the engine
NS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
CGROUPS = Path("/sys/fs/cgroup")


def sampled_contention(folder: Path) -> AbstractContextManager[None]:
    """Sample into the trace folder until the block ends."""
    return beside(partial(_sample, folder), "contention")


def _sample(folder: Path, ended: threading.Event) -> None:
    totals = Totals(folder)
    try:
        write_dictionary(folder)
        with (folder / FILE).open("w") as file:
            file.write(HEAD)
            while not ended.wait(PERIOD_S):
                file.writelines(map(_line, totals.changes()))
                file.flush()
    except OSError:  # the disk is full, or the folder is gone: the recorder itself says so
        return


def _line(row: Row) -> str:
    return ",".join(map(str, row)) + "\n"


def write_dictionary(folder: Path) -> None:
    """Say what the columns of the samples mean; the review of the trace adds its own."""
    with contextlib.suppress(OSError):  # the samples are worth more than what explains them
        (folder / DICTIONARY).write_text(f"# Columns\n\n{sections({ABOUT: ContentionSample})}\n")


class RollingSamples:
    """The samples of the last while, in memory, of an engine whose processes report to `source`."""

    def __init__(self, source: Path) -> None:
        self._totals = Totals(source)
        self._rows: deque[Row] = deque()
        self._before: dict[Key, int] = {}  # the totals when the first row was taken
        self._lock = threading.Lock()

    def running(self) -> AbstractContextManager[None]:
        """Sample until the block ends."""
        return beside(self._sample, "contention")

    def _sample(self, ended: threading.Event) -> None:
        while not ended.wait(PERIOD_S):
            changes = list(self._totals.changes())
            with self._lock:
                self._rows += changes
                while self._rows and self._rows[0][0] < self._rows[-1][0] - ROLLING_NS:
                    _, source, pid, thread, total = self._rows.popleft()
                    self._before[source, pid, thread] = total

    def write(self, folder: Path) -> None:
        """Write them into a trace folder."""
        with self._lock:
            rows = list(self._rows)
            first = [(rows[0][0], *key, total) for key, total in self._before.items()] if rows else []
        write_dictionary(folder)
        (folder / FILE).write_text(HEAD + "".join(map(_line, [*first, *rows])))


class Totals:
    """All totals, and which have grown since the last look."""

    def __init__(self, folder: Path) -> None:
        self._threads = EngineThreads(folder)
        self._last: dict[Key, int] = {}
        self._looked_ns = 0
        self._stopped: dict[int, int] = {}

    def changes(self) -> Iterator[Row]:
        """Each total that has grown since the last sample; a thread's first one always."""
        moment, pids = time.monotonic_ns(), self._threads.pids()
        totals: dict[Key, int] = {(THREAD, pid, thread): total for pid, thread, total in self._threads.queued()}
        totals |= {(source, 0, 0): total for source, total in _machine_totals(sorted(pids) or [os.getpid()])}
        totals |= {(STOPPED, pid, 0): total for pid, total in self._stops(moment, pids)}
        for key, total in totals.items():
            if self._last.get(key) != total:
                yield moment, *key, total
        self._last.update(totals)

    def _stops(self, moment: int, pids: Iterable[int]) -> Iterator[tuple[int, int]]:
        """How long each process was seen stopped: from the last look to this one, where this one sees it so."""
        since = moment - self._looked_ns if self._looked_ns else 0
        self._looked_ns = moment
        for pid in pids:
            with contextlib.suppress(OSError, IndexError):
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
                self._stopped[pid] = self._stopped.get(pid, 0) + (since if state in "Tt" else 0)
                yield pid, self._stopped[pid]


class EngineThreads:
    """The threads that the watched processes have named, and how long each has stood in the run queue."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[Path, tuple[int, list[int]]] = {}  # process file -> when it was written, its threads

    def queued(self) -> Iterator[tuple[int, int, int]]:
        """(pid, thread, nanoseconds in the run queue since the thread began) of those that live."""
        for path in self.folder.glob("process-*.json"):
            pid = pid_of(path)
            for thread in self._threads(path):
                with contextlib.suppress(OSError, ValueError, IndexError):
                    fields = Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()
                    yield pid, thread, int(fields[1])  # run time, time in the run queue, time slices

    def pids(self) -> list[int]:
        """The watched processes, dead ones too."""
        return [pid_of(path) for path in self.folder.glob("process-*.json")]

    def _threads(self, path: Path) -> list[int]:
        with contextlib.suppress(OSError, EnginescopeError):
            written = path.stat().st_mtime_ns
            if self._read.get(path, (0, []))[0] != written and (process := processfile.read(path)):
                self._read[path] = (written, [number for number, name in process.threads.items() if name != KEEPER])
        return self._read.get(path, (0, []))[1]


def _machine_totals(pids: Iterable[int]) -> Iterator[tuple[str, int]]:
    """How long the control group of the first process that lives was throttled, and what the hypervisor took from all
    cores together.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        yield STEAL, int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[8]) * NS_PER_TICK
    for path in chain.from_iterable(map(_cgroup_files, pids)):
        with contextlib.suppress(OSError, ValueError):
            fields = dict(line.split() for line in path.read_text().splitlines())
            if "throttled_usec" in fields:
                yield THROTTLED, int(fields["throttled_usec"]) * 1000
                return
            if "throttled_time" in fields:
                yield THROTTLED, int(fields["throttled_time"])
                return


def _cgroup_files(pid: int) -> Iterator[Path]:
    """Where its control group's `cpu.stat` may be: version 2, version 1, and as a container sees its own. Nowhere, once
    it has ended: what stands above is the total of others.
    """
    try:
        groups = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield CGROUPS / path.lstrip("/") / "cpu.stat"
        elif "cpu" in controllers.split(","):
            yield CGROUPS / controllers / path.lstrip("/") / "cpu.stat"
    yield CGROUPS / "cpu.stat"
    yield CGROUPS / "cpu" / "cpu.stat"
