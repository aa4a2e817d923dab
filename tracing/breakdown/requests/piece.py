"""An interval that can explain a request's time, and how telling each kind is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tracing.timeline.contention import Kept
from tracing.timeline.index import Index
from tracing.timeline.lookups.rows import Rows
from tracing.timeline.steps.phases import WORKER_WAITS

UNEXPLAINED = "unexplained"
# What the machine kept threads from running for, in the order in which they take what is unexplained.
RUN_QUEUE, QUOTA, STOLEN = "run queue (estimate)", "CPU quota (estimate)", "steal (estimate)"
MACHINE = (RUN_QUEUE, QUOTA, STOLEN)
# Of several the highest counts. Work comes before waiting: the worker's, the core's, the rest.
WORKER_WORK, CORE_WORK, WORK, WORKER_WAIT, WAIT = range(8, 3, -1)
# What the processes did meanwhile says least.
LOOP, EARLIER, OTHER = range(3, 0, -1)
RANK = {"worker": WORKER_WORK, "core": CORE_WORK}  # of work; that of other roles is WORK


class Piece(NamedTuple):
    """An interval that can explain a request's time, and the rows of the spans that it rests on.

    `whole` is when that began and ended of which it is a part: of two with one rank the later one counts.
    """

    part: str
    start_ns: int
    end_ns: int
    rank: int
    rows: tuple[int, ...]
    whole: tuple[int, int]


def ranks(index: Index, rows: Rows) -> Rows:
    """How telling some spans are."""
    waits = index.has("share", rows, "wait")
    kinds = [waits & index.has("stage", rows, *WORKER_WAITS), waits, *(index.has("role", rows, name) for name in RANK)]
    return np.select(kinds, [WORKER_WAIT, WAIT, *RANK.values()], WORK)


def by_cause(kept: Kept) -> dict[str, np.ndarray]:
    """What kept threads from running, by the names of the causes."""
    return {RUN_QUEUE: kept.run_queue, QUOTA: kept.quota, STOLEN: kept.stolen}
