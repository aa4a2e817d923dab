"""Moves what the rings of an engine hold into a trace folder: once, or for as long as they are written."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from tracing.attach.ring import new_rings
from tracing.attach.tracefiles import TraceFiles, whole_from
from tracing.events import processfile


class Moved:
    """The trace files of all processes of an engine, and from when on each of them is whole: from `since_ns` on, a
    time of CLOCK_MONOTONIC, or what there is."""

    def __init__(self, source: Path, folder: Path, since_ns: int = 0) -> None:
        self.source, self.folder, self.since_ns = source, folder, since_ns
        self.files: dict[int, TraceFiles] = {}
        self.first_ns: dict[int, int] = {}
        self._begin_new()

    def skip(self) -> None:
        """Leave out what has been written so far; what processes write that come later is all new."""
        for file in self.files.values():
            file.ring.skip()

    def is_empty(self) -> bool:
        """Whether no record was moved."""
        return not any(file.count for file in self.files.values())

    def move(self, at_end: bool = False) -> None:
        """Move what is new in all rings, of new processes too. The ends of all are fixed before the first is read."""
        self._begin_new()
        ends = {pid: file.ring.written() for pid, file in self.files.items()}
        for pid, file in self.files.items():
            lost = file.ring.lost
            records = file.move(ends[pid], at_end and not file.lives())
            if file.ring.lost > lost and file.count == len(records):  # the ring had turned before it was first read
                self.first_ns[pid] = max(self.first_ns.get(pid, 0), whole_from(records))
                file.ring.lost = 0

    def close(self, first_ns: int = 0) -> list[str]:
        """Complete the folder, whole from `first_ns` on at the earliest; what was lost, a line each."""
        self.move(at_end=True)  # of who lives, the record that is being written is left out, and is none that is torn
        for pid, file in self.files.items():
            file.close(max(first_ns, self.since_ns, self.first_ns.get(pid, 0)))
        return [line for file in self.files.values() for line in _losses(file)]

    def _begin_new(self) -> None:
        """Begin with processes that have come; their process files are there for who samples the machine."""
        for ring in new_rings(self.source, self.files):
            shutil.copy(processfile.beside(ring.path), self.folder)
            self.files[ring.pid] = TraceFiles(ring, self.folder, self.since_ns)


def _losses(file: TraceFiles) -> Iterator[str]:
    process = processfile.read(file.ring.path)
    who = f"the {next(iter(process.serves if process else ()), 'process')} (pid {file.ring.pid})"
    if file.ring.lost:
        yield f"{file.ring.lost} records of {who} were overwritten before they were read"
    if nameless := file.nameless():
        yield f"the names of {nameless} requests in {who} were overwritten: their spans have none"


def wait_until(moment_ns: int, period_s: float) -> bool:
    """Sleep for a period, or until a moment of CLOCK_MONOTONIC that is nearer; whether that is still to come."""
    left_s = (moment_ns - time.monotonic_ns()) / 1e9
    if left_s > 0:
        time.sleep(min(period_s, left_s))
    return left_s > period_s
