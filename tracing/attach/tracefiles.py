"""What one process's ring gives, written as the files of a trace folder."""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path

import numpy as np
import psutil

from probes.processes.group import lives
from tracing.attach.ring import Ring
from tracing.events import pinned, processfile
from tracing.events.layout import HEADER, LIST, MAGIC, RAISED, RECORD, SCHEMA, SPAN, TEXT, TEXT_ALIGNMENT, TEXTS_MAGIC
from tracing.events.texts import ring_texts

TEXTS_PERIOD_NS = 5_000_000_000  # the texts are looked at so often: they are turned over more slowly


class TraceFiles:
    """The trace files of one process, which grow by what `move` takes out of its ring."""

    def __init__(self, ring: Ring, folder: Path, since_ns: int) -> None:
        self.ring, self.folder, self.since_ns = ring, folder, since_ns
        self.count = 0
        self.texts: dict[int, str] = {}
        self.texts_ns = 0
        self.named: set[int] = set()
        self._file = (folder / ring.path.name).open("w+b")
        self._file.write(bytes(RECORD.itemsize))

    def move(self, until: int | None = None, at_end: bool = False) -> np.ndarray:
        """Append what the ring has, up to a sequence number; the records."""
        if time.monotonic_ns() - self.texts_ns > TEXTS_PERIOD_NS or at_end:
            self.read_texts()
        is_cut = self.since_ns and not self.count
        if is_cut:
            self.ring.skip_before(self.since_ns)
        records = self.ring.take(until, at_end)
        if is_cut:
            records = records[_first_since(records, self.since_ns) :]
        self._file.write(records.tobytes())  # `tofile` says nothing of a full disk
        self.count += len(records)
        spans = (records["kind"] == SPAN) | (records["kind"] == RAISED)
        self.named.update(np.unique(records["request"][spans]).tolist())
        return records

    def read_texts(self) -> None:
        self.texts |= ring_texts(self.ring.path.with_suffix(".texts"), self.ring.slots)
        self.texts_ns = time.monotonic_ns()

    def lives(self) -> bool:
        """Whether the process still runs."""
        try:
            return lives(psutil.Process(self.ring.pid))
        except psutil.Error:
            return False

    def nameless(self) -> int:
        """How many requests lost their name: their spans are there still, their texts were overwritten."""
        return len(self.named - {0} - set(self.texts))

    def close(self, first_ns: int) -> None:
        """Complete the files; `first_ns` is from when on the process's records are whole, 0 for always."""
        self.read_texts()
        dropped = self.ring.dropped()
        header = np.zeros(1, HEADER)
        header["magic"], header["schema"], header["pid"] = MAGIC, SCHEMA, self.ring.pid
        header["written"], header["dropped"] = self.count, dropped
        self._file.seek(0)
        self._file.write(header.tobytes())
        self._file.close()
        self.ring.close()
        path = self.folder / self.ring.path.name
        path.with_suffix(".texts").write_bytes(TEXTS_MAGIC + b"".join(map(_entry, self.texts.items())))
        stopped = {"stopped_ns": time.monotonic_ns()} if self.lives() else {}
        processfile.copy(self.ring.path, self.folder, first_ns=first_ns, dropped=dropped, **stopped)
        with contextlib.suppress(FileNotFoundError):  # none of its requests has run for long
            shutil.copy(pinned.path_of(self.ring.path.parent, self.ring.pid), self.folder)


def _first_since(records: np.ndarray, since_ns: int) -> int:
    """The place of the first span that ended at a moment or later: those before it are older."""
    spans = np.flatnonzero((records["kind"] == SPAN) | (records["kind"] == RAISED))
    late = spans[records["end"][spans] >= since_ns]
    return int(late[0]) if len(late) else len(records)


def whole_from(records: np.ndarray) -> int:
    """From when on all spans are there, where older records were overwritten: a span is written when it ends."""
    timed = np.flatnonzero(np.isin(records["kind"], (SPAN, RAISED, LIST)))  # what follows a list is numbers, no times
    if not len(timed):
        return time.monotonic_ns()
    oldest = records[timed[0]]
    return int(oldest["start"] if oldest["kind"] == LIST else oldest["end"])


def _entry(item: tuple[int, str]) -> bytes:
    number, text = item
    payload = text.encode()
    return TEXT.pack(number, len(payload)) + payload + bytes(-len(payload) % TEXT_ALIGNMENT)
