"""When a device or a worker stood still, and why: what ran on the CPU in every gap, instant by instant.

The device's worker counts before its core, that before what is on the way between processes, the core's socket threads
and the front end; waits explain only what nothing else does. Only the device's own core is asked, and those of its
workers that are named. Of what is left, what the machine kept from running is known by samples, and is an estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from tracing.breakdown.otherwatchers import GapCause, GpuDevice
from tracing.breakdown.starvation import MachineSamples
from tracing.timeline.index import Index
from tracing.timeline.intervals import (
    Ints,
    Pieces,
    edges,
    gaps,
    length,
    overlap,
    overlapping,
    precedence,
    topmost,
    union,
)
from tracing.timeline.lookups.rows import NONE
from tracing.timeline.spans import APART
from tracing.timeline.steps.anatomy import by_kind
from tracing.timeline.steps.collectives import OTHER_RANKS
from tracing.timeline.steps.phases import PIPELINE

SHORT_GAP_NS = 20_000
NOTHING, NO_REQUEST = "nothing recorded", "no request in the engine"
RANKS = {"worker": 6, "core": 5, "core input": 3, "core output": 3}
OUTSIDE = ("front end", *APART)  # of the core and its workers
RANKS |= dict.fromkeys(OUTSIDE, 2)
HOP_RANK, NO_REQUEST_RANK, WAIT_RANK = 4, 1, 0
PLACES = {"core input": " on the core's input thread", "core output": " on the core's output thread"}
PLACES |= {role: f" on the {role}" for role in OUTSIDE}
HOPS = {"front end → core": "ZMQ", "core → front end": "ZMQ"}  # the others go through shared memory
ALL = "all"
TIMES = ["start_ns", "end_ns"]
TELLING = ["pid", "site", "role", "stage", "share"]  # of a span, to be a cause
NEVER: Pieces = (NONE, NONE)


class Cause(NamedTuple):
    """What can be the cause of a gap: its name, its rank, and when it was there (`start_ns`, `end_ns`)."""

    name: str
    rank: int
    rows: pd.DataFrame


def causes(index: Index, hops: pd.DataFrame, workers: set[int], busy: Pieces = NEVER) -> Iterator[Cause]:
    """The causes of gaps of the device that some workers share; what lies within `busy` is none.

    Workers of which no core is known belong to all.
    """
    spans, mine = around(index, busy), {index.cores[worker] for worker in workers if worker in index.cores}
    of_core = spans["pid"].isin(mine) if mine else pd.Series(True, index=spans.index)
    for (role, stage, share), rows in spans.groupby(["role", "stage", "share"], observed=True):
        if role == "worker":
            rows = rows[rows["pid"].isin(workers)]
        elif role != "front end":
            rows = rows[of_core[rows.index]]
        if share == "work" and len(rows):
            yield Cause(f"{stage}{PLACES.get(str(role), '')}", RANKS[str(role)], rows[TIMES])
        elif share == "wait" and (role == "core" or stage in (PIPELINE, OTHER_RANKS)) and len(rows):
            yield Cause(str(stage), WAIT_RANK, rows[TIMES])
    for name, rows in hops.groupby("hop"):
        way = rows[rows["core"].isin(mine)] if mine else rows
        way = way.rename(columns={"from_ns": "start_ns", "to_ns": "end_ns"}).drop_duplicates(["start_ns", "end_ns"])
        yield Cause(HOPS.get(str(name), "shared memory"), HOP_RANK, way)
    yield Cause(NO_REQUEST, NO_REQUEST_RANK, spans[(spans["site"] == "core.input_queue") & of_core])


def around(index: Index, busy: Pieces) -> pd.DataFrame:
    """The spans in pieces, without the waits inside them and but for the pieces within `busy`: a call that waits is not
    what a device waits for."""
    place, start, end = index.cuts.all
    # Each piece begins within the last busy time that began before it, or after that ended.
    busy_until = np.append(np.iinfo(np.int64).min, busy[1])[np.searchsorted(busy[0], start, side="right")]
    idle = np.flatnonzero(np.maximum(busy_until, start) < end)
    rows = index.timeline.spans[TELLING].take(place[idle])
    return rows.assign(start_ns=start[idle], end_ns=end[idle]).reset_index(drop=True)


def windows(steps: pd.DataFrame, cores: set[int]) -> Iterator[tuple[str, Pieces]]:
    """By kind of step the time of some cores' steps, each to the next one's start; none where there are no steps."""
    steps = steps[steps["pid"].isin(cores) & (steps["period_ns"] > 0)] if len(steps) else steps
    if len(steps):
        for kind, rows in ((ALL, steps), *by_kind(steps)):
            yield kind, union(*edges(rows.assign(end_ns=rows["start_ns"] + rows["period_ns"])))


class Explained:
    """Time cut at every edge of some causes, with the one that counts in each piece.

    `otherwise` says what explains some pieces of time that none of them covers: nanoseconds by cause. None: nothing is
    known of those.
    """

    def __init__(self, listed: list[Cause], otherwise: Callable[[Pieces], dict[str, int]] | None = None) -> None:
        self.names, self._otherwise = [cause.name for cause in listed], otherwise
        count = [len(cause.rows) for cause in listed]
        start, end = (self._joined(listed, name) for name in ("start_ns", "end_ns"))
        self._which = np.repeat(np.arange(len(listed)), count)
        rank = np.repeat(np.array([cause.rank for cause in listed], dtype=np.int64), count)
        self._bounds, self._top = topmost(start, end, precedence(start, end, rank))

    @staticmethod
    def _joined(listed: list[Cause], name: str) -> Ints:
        return np.concatenate([np.zeros(0, np.int64), *(c.rows[name].to_numpy(dtype=np.int64) for c in listed)])

    def inside(self, waits: Pieces) -> dict[str, int]:
        """Nanoseconds of some pieces of time by cause."""
        which, piece = overlapping(*waits, (self._bounds[:-1], self._bounds[1:]))
        top = self._top[piece]
        begun = np.maximum(self._bounds[:-1][piece], waits[0][which])
        over = np.minimum(self._bounds[1:][piece], waits[1][which])
        cause = self._which[top[top >= 0]]
        spent = np.bincount(cause, weights=(over - begun)[top >= 0], minlength=len(self.names)).astype(np.int64)
        total: dict[str, int] = {}
        for number in np.unique(cause).tolist():
            name = self.names[number]
            total[name] = total.get(name, 0) + int(spent[number])
        return total | self._otherwise(gaps(waits, self._covered)) if self._otherwise else total

    @cached_property
    def _covered(self) -> Pieces:
        """The time of all causes together: one for all windows in which a worker or a device is asked about."""
        there = self._top >= 0
        return union(self._bounds[:-1][there], self._bounds[1:][there])


def explained(
    index: Index, hops: pd.DataFrame, workers: set[int], machine: MachineSamples, busy: Pieces = NEVER
) -> Explained:
    """Why the device that some workers share waited while it was not `busy`: the causes that were recorded, then those
    that were sampled."""
    recorded = list(causes(index, hops, workers, busy))
    processes = workers | {index.cores[worker] for worker in workers if worker in index.cores}
    return Explained(recorded, partial(machine.inside, processes=processes) if machine.samples.is_known else None)


def waiting(
    device: int,
    kind: str,
    window: Pieces,
    busy: Pieces,
    why: Explained,
    short: int = SHORT_GAP_NS,
    surely_busy: Pieces | None = None,
) -> GpuDevice:
    """How long a device was busy in a window and what its gaps of more than `short` nanoseconds are due to.

    `busy_ns` + `idle_ns` = `window_ns`; `gap_ns` + `short_gap_ns` = `idle_ns`; the `causes`, largest first, add up to
    `gap_ns`. Where `busy` is when it can have been busy at most, `surely_busy` is when it was for sure.
    """
    starts, ends = gaps(window, busy)
    long = ends - starts > short
    long_gaps = starts[long], ends[long]
    whole, idle, gap = (length(pieces) for pieces in (window, (starts, ends), long_gaps))
    by_cause = why.inside(long_gaps)
    by_cause[NOTHING] = gap - sum(by_cause.values())
    ordered = sorted(((name, ns) for name, ns in by_cause.items() if ns), key=lambda cause: -cause[1])
    return GpuDevice(
        device,
        kind,
        window_ns=whole,
        busy_ns=whole - idle,
        busy_least_ns=whole - idle if surely_busy is None else int(overlap(surely_busy, *window).sum()),
        idle_ns=idle,
        gaps=int(long.sum()),
        gap_ns=gap,
        short_gap_ns=idle - gap,
        causes=tuple(GapCause(name, ns) for name, ns in ordered),
    )
