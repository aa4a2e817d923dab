"""The last seconds of a running engine, kept in memory: what is new in its rings is read again and again."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tracing.attach.ring import Ring, new_rings
from tracing.attach.switch import NS_PER_S
from tracing.attach.tracefiles import whole_from
from tracing.events import file as eventfile
from tracing.events import processfile
from tracing.events.file import EventFile
from tracing.events.layout import RECORD
from tracing.events.processfile import ProcessRecord
from tracing.events.texts import GrowingTexts


@dataclass(frozen=True)
class RingLook:
    """What each process wrote from one moment to another, in ns of CLOCK_MONOTONIC."""

    begin_ns: int
    end_ns: int
    records: dict[int, np.ndarray]


def length_s(looks: Sequence[RingLook]) -> float:
    """The time of some looks that follow each other."""
    return (looks[-1].end_ns - looks[0].begin_ns) / NS_PER_S


class WatchedProcess:
    """A process of the engine: its ring, its texts, and what it says of itself."""

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self.texts = GrowingTexts(ring.path.with_suffix(".texts"), ring.slots)
        self.whole_ns = 0  # from when on its records are whole
        self.record = ProcessRecord(ring.pid)
        self._read_ns = 0  # when what was read was written

    def take(self, until: int) -> np.ndarray:
        """What is new up to a sequence number; where some of that was overwritten, it is whole from later on."""
        lost = self.ring.lost
        records = self.ring.take(until)
        if self.ring.lost > lost:
            self.whole_ns = whole_from(records)
        return records

    def file(self, looks: Sequence[RingLook]) -> EventFile:
        """What it wrote in some looks, as its event file in a trace; nothing from before records that were lost."""
        with suppress(OSError):  # the engine has ended
            path = processfile.beside(self.ring.path)
            written_ns = path.stat().st_mtime_ns
            if written_ns != self._read_ns:
                self._read_ns, self.record = written_ns, processfile.read(path) or self.record
        whole = [look for look in looks if self.ring.pid in look.records and look.end_ns > self.whole_ns]
        records = np.concatenate([np.zeros(0, RECORD), *(look.records[self.ring.pid] for look in whole)])
        process = replace(self.record, first_ns=max(looks[0].begin_ns, self.whole_ns))
        return eventfile.apart(process, records, self.texts.read())


class LastSeconds:
    """What was written in the last `seconds`, look by look; the first one begins with the object."""

    def __init__(self, source: Path, seconds: float) -> None:
        self.source, self.seconds = source, seconds
        self.looks: deque[RingLook] = deque()
        self._processes: dict[int, WatchedProcess] = {}
        self._begin_new()
        for process in self._processes.values():
            process.ring.skip()
        self.end_ns = time.monotonic_ns()

    def look(self) -> None:
        """Read what is new, of new processes too. The ends of all rings are fixed before the first is read."""
        self._begin_new()
        begin_ns, self.end_ns = self.end_ns, time.monotonic_ns()
        ends = {pid: process.ring.written() for pid, process in self._processes.items()}
        records = {pid: process.take(ends[pid]) for pid, process in self._processes.items()}
        self.looks.append(RingLook(begin_ns, self.end_ns, records))
        self.forget_before(self.end_ns - round(self.seconds * NS_PER_S))

    def forget_before(self, moment_ns: int) -> None:
        """Let the window begin with the last look that began at a moment or before it; it never begins earlier."""
        while len(self.looks) > 1 and self.looks[0].end_ns <= moment_ns:
            self.looks.popleft()

    def files(self, looks: Sequence[RingLook] = ()) -> list[EventFile]:
        """Some looks, or all, as the event files of a trace: one for each process."""
        return [process.file(looks or self.looks) for process in self._processes.values()]

    def _begin_new(self) -> None:
        for ring in new_rings(self.source, self._processes):
            self._processes[ring.pid] = WatchedProcess(ring)
