"""The last seconds of a running engine as a timeline, read out of its rings again and again."""

from __future__ import annotations

import tempfile
import time
from collections import deque
from pathlib import Path

from tracing import timeline
from tracing.attach.moved import Moved
from tracing.attach.switch import NS_PER_S
from tracing.timeline import Timeline

WINDOW_S = 5.0


class LastSeconds:
    """What was written in the last seconds; `begin_ns` and `end_ns` on CLOCK_MONOTONIC."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self.begin_ns = self.end_ns = time.monotonic_ns()
        self._places: deque[tuple[int, dict[int, int]]] = deque()  # moments, and how many records each ring had then

    def read(self) -> Timeline | None:
        """The timeline now; None at first, where the window begins, and before anything was written."""
        with tempfile.TemporaryDirectory() as scratch:
            moved = Moved(self.source, Path(scratch))
            self.end_ns = time.monotonic_ns()
            self._places.append((self.end_ns, {pid: file.ring.written() for pid, file in moved.files.items()}))
            while len(self._places) > 2 and self._places[1][0] <= self.end_ns - WINDOW_S * NS_PER_S:
                self._places.popleft()
            self.begin_ns, places = self._places[0]
            for pid, file in moved.files.items():
                file.ring.next = places.get(pid, 0)
            moved.close(self.begin_ns)
            return timeline.read(scratch) if moved.files and len(self._places) > 1 else None

    @property
    def length_s(self) -> float:
        return (self.end_ns - self.begin_ns) / NS_PER_S
