"""Reads the ring of one process while that writes it, without stopping it.

The records are copied first, and the header's count is looked at afterwards: what was overwritten meanwhile is left
out and counted. A record's sequence number tells what is missing, so that no gap goes unseen.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Container, Iterator
from pathlib import Path

import numpy as np

from tracing.events import processfile
from tracing.events.file import KIND_MASK, LAP_MASK, LAP_SHIFT
from tracing.events.layout import HEADER, RAISED, RECORD, SPAN
from tracing.events.processfile import pid_of

OUT_OF_ORDER_NS = 1_000_000_000  # by which a thread may write a span later than another one that ended after it
END_OF_TIME_NS = (1 << 63) - 1
PIECE = 64  # records: in so many there is mostly a span, and no more are being written at a time


class Ring:
    """One process's ring, read from the sequence number `next` on; `lost` counts what was overwritten before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pid = pid_of(path)
        self._file = path.open("rb", buffering=0)  # open for good: who ends may remove it
        self.slots = int(self._header()["ring"])
        self.next = 0
        self.lost = 0
        self._dropped_before = 0

    def skip(self) -> None:
        """Leave out what has been written and dropped so far."""
        self.next, self._dropped_before = self.written(), int(self._header()["dropped"])

    def skip_before(self, moment_ns: int) -> None:
        """Leave out, without reading it, what ended before a moment of CLOCK_MONOTONIC; a little of it is left."""
        end = self.written()
        first = max(self.next, end - self.slots)
        earlier, old_ns = range(first, max(first, end - PIECE)), moment_ns - OUT_OF_ORDER_NS
        if older := bisect_left(earlier, old_ns, key=lambda number: self._ended_ns(number, end)):
            self.next = first + older  # where there is none, what was overwritten may be missing

    def written(self) -> int:
        """How many records have been taken so far."""
        return int(self._header()["written"])

    def dropped(self) -> int:
        """How many found no room: their process could not make its file longer in time."""
        return int(self._header()["dropped"]) - self._dropped_before

    def take(self, until: int | None = None, at_end: bool = False) -> np.ndarray:
        """The records from `next` on to `until` (None: all), as a log would hold them.

        One that is being written is left for the next time; `at_end`, where none will come, it has kind 0.
        """
        end = self.written() if until is None else until
        first = max(self.next, end - self.slots)
        records = self._copied(first, end)
        safe = min(max(first, self.written() - self.slots), end)
        records = records[safe - first :]
        self.lost += safe - self.next
        laps = np.arange(safe, end) // self.slots
        kinds = records["kind"] & KIND_MASK
        unwritten = (kinds == 0) | (records["kind"] >> LAP_SHIFT != laps & LAP_MASK)  # in its first lap a slot is empty
        records["kind"] = np.where(unwritten, 0, kinds)
        if unwritten.any() and not at_end:
            records = records[: int(unwritten.argmax())]
        self.next = safe + len(records)
        return records

    def close(self) -> None:
        self._file.close()

    def _header(self) -> np.void:
        raw = os.pread(self._file.fileno(), HEADER.itemsize, 0)
        return np.frombuffer(raw, HEADER)[0] if len(raw) == HEADER.itemsize else np.zeros(1, HEADER)[0]

    def _ended_ns(self, number: int, end: int) -> int:
        """When the first span ended that has this number or a later one; after all times where there is none."""
        for first in range(number, end, PIECE):
            records = self._copied(first, min(first + PIECE, end))
            ended = records["end"][np.isin(records["kind"] & KIND_MASK, (SPAN, RAISED))]
            if len(ended):
                return int(ended[0])
        return END_OF_TIME_NS

    def _copied(self, first: int, end: int) -> np.ndarray:
        if end <= first:
            return np.zeros(0, RECORD)
        slot = first % self.slots
        count = min(end - first, self.slots - slot)
        return np.concatenate([self._slots(slot, count), self._slots(0, end - first - count)])

    def _slots(self, slot: int, count: int) -> np.ndarray:
        size, offset = RECORD.itemsize, (slot + 1) * RECORD.itemsize
        return np.frombuffer(os.pread(self._file.fileno(), count * size, offset), RECORD)


def new_rings(folder: Path, known: Container[int]) -> Iterator[Ring]:
    """The rings of processes that are not known yet; one whose process is still making it comes the next time."""
    for path in sorted(folder.glob("events-*.bin")):
        if pid_of(path) not in known and processfile.read(path) is not None:
            ring = Ring(path)
            if ring.slots:
                yield ring
            else:
                ring.close()
