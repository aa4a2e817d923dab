"""Samples how long the machine kept the engine's threads from running, while a command is recorded.

Read from outside, by the recorder's own process: the engine's threads do nothing for it. Each value is a total that
only grows, so what lies between two samples is a difference, and a lost sample loses nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from tracing.events.contention import COLUMNS, FILE, STEAL, THREAD, THROTTLED
from tracing.events.processfile import pid_of

PERIOD_S = 0.1
KEEPER = "enginescope"  # the recorder's own thread in each process, which is no part of the engine
NS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
CGROUPS = Path("/sys/fs/cgroup")


@contextlib.contextmanager
def sampled_contention(folder: Path) -> Iterator[None]:
    """Sample into the trace folder until the block ends."""
    ended = threading.Event()
    sampler = threading.Thread(target=_sample, args=(folder, ended), name="contention", daemon=True)
    sampler.start()
    try:
        yield
    finally:
        ended.set()
        sampler.join()


def _sample(folder: Path, ended: threading.Event) -> None:
    threads = EngineThreads(folder)
    last: dict[tuple[str, int, int], int] = {}
    try:
        with (folder / FILE).open("w") as file:
            file.write(",".join(COLUMNS) + "\n")
            while not ended.wait(PERIOD_S):
                _write_changes(file, last, threads)
    except OSError:  # the disk is full, or the folder is gone: the recorder itself says so
        return


def _write_changes(file: TextIO, last: dict[tuple[str, int, int], int], threads: EngineThreads) -> None:
    """Write each total that has grown since the last sample; a thread's first one always."""
    moment = time.monotonic_ns()
    totals = {(THREAD, pid, thread): total for pid, thread, total in threads.queued()}
    totals |= {(source, 0, 0): total for source, total in _machine_totals()}
    for key, total in totals.items():
        if last.get(key) != total:
            file.write(",".join(map(str, (moment, *key, total))) + "\n")
    last.update(totals)
    file.flush()


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

    def _threads(self, path: Path) -> list[int]:
        with contextlib.suppress(OSError, ValueError, KeyError):
            written = path.stat().st_mtime_ns
            if self._read.get(path, (0, []))[0] != written:
                names = json.loads(path.read_text())["threads"]
                self._read[path] = (written, [int(number) for number, name in names.items() if name != KEEPER])
        return self._read.get(path, (0, []))[1]


def _machine_totals() -> Iterator[tuple[str, int]]:
    """How long this process's control group was throttled, and what the hypervisor took from all cores together."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        yield STEAL, int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[8]) * NS_PER_TICK
    for path in _cgroup_files():
        with contextlib.suppress(OSError, ValueError):
            fields = dict(line.split() for line in path.read_text().splitlines())
            if "throttled_usec" in fields:
                yield THROTTLED, int(fields["throttled_usec"]) * 1000
                return
            if "throttled_time" in fields:
                yield THROTTLED, int(fields["throttled_time"])
                return


def _cgroup_files() -> Iterator[Path]:
    """Where the control group's `cpu.stat` may be: version 2, version 1, and as a container sees its own."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                yield CGROUPS / path.lstrip("/") / "cpu.stat"
            elif "cpu" in controllers.split(","):
                yield CGROUPS / controllers / path.lstrip("/") / "cpu.stat"
    yield CGROUPS / "cpu.stat"
    yield CGROUPS / "cpu" / "cpu.stat"
