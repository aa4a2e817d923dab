"""An interval that can explain a request's time, and how telling each kind is."""

from __future__ import annotations

from typing import NamedTuple

# Of several the highest counts. Work comes before waiting: the worker's, the core's, the rest.
WORKER_WORK, CORE_WORK, WORK, WORKER_WAIT, WAIT = range(8, 3, -1)
# What the processes did meanwhile says least.
LOOP, EARLIER, OTHER = range(3, 0, -1)


class Piece(NamedTuple):
    """An interval that can explain a request's time, and the rows of the spans that it rests on."""

    part: str
    start_ns: int
    end_ns: int
    rank: int
    rows: tuple[int, ...]
