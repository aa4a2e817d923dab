"""What the recorders of a simulated engine's two processes would have written."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tracing.events.layout import COUNTS, DELAYED, DEVICE, LIST, MESSAGE, MORE, RECORD, SPAN
from tracing.sites.engine import CODES
from tracing.whatif.steps import RecordedEngine

CORE, FRONT = 1, 2  # process ids
KEY = 1_000_000  # of the first step's message


@dataclass
class SimulatedRecords:
    """Rows of records by process id."""

    rows: dict[int, list[tuple[int, ...]]] = field(default_factory=lambda: {CORE: [], FRONT: []}, kw_only=True)

    def span(
        self, pid: int, site: str, start: int, end: int, step: int, value: int = 0, extra: int = 0, request: int = 0
    ) -> None:
        """A call of a site."""
        self.rows[pid].append((start, end, step, value, pid, request, extra, CODES[site], SPAN))

    def schedule(self, step: int, at: int, requests: int, prefills: bool) -> None:
        """A step's scheduling, and the first word of its counts."""
        self.span(CORE, "scheduler.schedule", at, at + 1000, step, requests, requests)
        self.rows[CORE].append((at, 0, step, 10, CORE, 0, 0, COUNTS, LIST))
        self.rows[CORE].append((int(prefills), 0, 0, 0, 0, 0, 0, 0, MORE))

    def message(self, step: int, at: int) -> None:
        """The mark of a step's message to the front end."""
        self.rows[CORE].append((at, KEY + step, step, 2, CORE, 0, 0, MESSAGE, LIST))

    def piece(self, step: int, begin: int, end: int) -> None:
        """A piece of a step's work on the device."""
        halves = [half for ns in (begin, end, begin) for half in (ns & 0xFFFFFFFF, ns >> 32)]
        self._list(DEVICE, end, step, [*halves, 1000])

    def device_delay(self, site: int, at: int, length: int, phase: int) -> None:
        """A delay that was put into the device's queue."""
        self._list(DELAYED, at, -1, [site, phase, length])

    def _list(self, code: int, at: int, step: int, words: list[int]) -> None:
        """A list of the core's that fits into one record."""
        payload = np.zeros(1, RECORD)
        payload.view("<u4")[: len(words)] = words
        payload["kind"] = MORE
        self.rows[CORE].append((at, 0, step, len(words), CORE, 0, 0, code, LIST))
        self.rows[CORE].append(tuple(payload[0]))

    def recorded(self) -> RecordedEngine:
        """What was recorded."""
        return RecordedEngine({pid: np.array(rows, dtype=RECORD) for pid, rows in self.rows.items()})
