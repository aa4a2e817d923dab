"""What the recorders of a simulated engine's two processes would have written."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tracing.events.layout import COUNTS, LIST, MESSAGE, MORE, RECORD, SPAN
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

    def recorded(self) -> RecordedEngine:
        """What was recorded."""
        return RecordedEngine({pid: np.array(rows, dtype=RECORD) for pid, rows in self.rows.items()})
