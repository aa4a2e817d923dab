"""The last seconds of a running engine as a trace folder, read out of its rings again and again."""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tracing import timeline
from tracing.attach.moved import Moved
from tracing.attach.switch import NS_PER_S
from tracing.timeline import Timeline

WINDOW_S = 5.0


class LastSeconds:
    """What was written in the last `seconds`; `begin_ns` and `end_ns` on CLOCK_MONOTONIC."""

    def __init__(self, source: Path, seconds: float = WINDOW_S) -> None:
        self.source, self.seconds = source, seconds
        self.begin_ns = self.end_ns = time.monotonic_ns()
        self._places: deque[tuple[int, dict[int, int]]] = deque()  # moments, and how many records each ring had then

    def read(self) -> Timeline | None:
        """The timeline now; None at first, where the window begins, and before anything was written."""
        with self.folder() as folder:
            return timeline.read(folder) if folder else None

    @contextmanager
    def folder(self) -> Iterator[Path | None]:
        """A trace folder of the window as it is now, for as long as the block lasts; None as in `read`."""
        with tempfile.TemporaryDirectory() as scratch:
            moved = Moved(self.source, Path(scratch))
            self.end_ns = time.monotonic_ns()
            self._places.append((self.end_ns, {pid: file.ring.written() for pid, file in moved.files.items()}))
            self.forget_before(self.end_ns - round(self.seconds * NS_PER_S))
            self.begin_ns, places = self._places[0]
            for pid, file in moved.files.items():
                file.ring.next = places.get(pid, 0)
            moved.close(self.begin_ns)
            yield Path(scratch) if moved.files and len(self._places) > 1 else None

    def forget_before(self, moment_ns: int) -> None:
        """Let the window begin with the last read at a moment or before it; it never begins earlier than it does."""
        while len(self._places) > 2 and self._places[1][0] <= moment_ns:
            self._places.popleft()

    @property
    def length_s(self) -> float:
        return (self.end_ns - self.begin_ns) / NS_PER_S
