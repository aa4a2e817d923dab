"""What the steps of each kind are made of, and how the workers spent their time: busy, idle, and why idle."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tracing.breakdown.gaps import ALL, explained, waiting, windows
from tracing.breakdown.otherwatchers import GpuDevice
from tracing.breakdown.review import StepKind, WorkerUse
from tracing.breakdown.starvation import MachineSamples
from tracing.timeline.index import Index
from tracing.timeline.intervals import Pieces, union
from tracing.timeline.steps.anatomy import batch_sizes, by_kind, scheduled_tokens
from tracing.timeline.steps.phases import PHASES
from tracing.timeline.steps.workers import busy, of_core, runs

MOST_IDLE = 5
COLUMNS = (*PHASES, "unexplained", "output", "worker_spread")


def summary(steps: pd.DataFrame, workers: dict[str, GpuDevice]) -> tuple[StepKind, ...]:
    """A row a kind of step that there is; `steps` is the frame of `tracing.timeline.steps.anatomy.anatomy`.

    `workers` has the workers' time by kind; it is empty where they launch on a device and go on, so that their own idle
    time says nothing.
    """
    return tuple(_row(kind, rows, workers.get(kind)) for kind, rows in by_kind(steps))


def _row(kind: str, rows: pd.DataFrame, worker: GpuDevice | None) -> StepKind:
    timed = rows[rows["period_ns"] > 0]
    lengths = rows["end_ns"] - rows["start_ns"]
    window = worker.window_ns if worker else 0
    shares = {cause.cause: cause.ns / window for cause in worker.causes[:MOST_IDLE]} if worker and window else {}
    return StepKind(
        kind=kind,
        count=len(rows),
        median_ns=int(lengths.median()),
        period_median_ns=int(timed["period_ns"].median()) if len(timed) else None,
        tokens_median=float(scheduled_tokens(rows).median()),
        requests_median=float(batch_sizes(rows).median()),
        **{f"{column}_median_ns": int(rows[f"{column}_ns"].median()) for column in COLUMNS},
        unexplained_share_median=float((rows["unexplained_ns"] / lengths.clip(lower=1)).median()),
        worker_idle_share=worker.idle_ns / window if worker and window else None,
        core_while_idle=shares,
    )


# --- the workers ---


def workers_by_kind(
    index: Index, steps: pd.DataFrame, hops: pd.DataFrame, machine: MachineSamples
) -> dict[int, list[GpuDevice]]:
    """By worker (its process) how it spent the steps of each kind; every idle nanosecond has a cause."""
    uses: dict[int, list[GpuDevice]] = {}
    for core in sorted(set(steps["pid"].tolist())):
        for worker in of_core(index.timeline, core, index.cores):
            ran = busy(index.timeline, worker)
            why = explained(index, hops, {worker}, machine, ran)
            of_kinds = windows(steps, {core})
            uses[worker] = [waiting(worker, kind, window, ran, why, short=0) for kind, window in of_kinds]
    return uses


def idle_by_kind(uses: dict[int, list[GpuDevice]]) -> dict[str, GpuDevice]:
    """All workers together, by kind of step."""
    kinds: dict[str, GpuDevice] = {}
    for use in (use for of_worker in uses.values() for use in of_worker):
        kinds[use.kind] = kinds[use.kind].joined(use) if use.kind in kinds else use
    return kinds


def worker_uses(index: Index, steps: pd.DataFrame, uses: dict[int, list[GpuDevice]]) -> tuple[WorkerUse, ...]:
    """A row a worker: how long it ran in the median step, how often it was the slowest, and its idle share.

    `uses` is `workers_by_kind`; empty on a device, where no worker's idle share is known.
    """
    run, cores = runs(index.timeline, steps, index.cores), sorted(set(steps["pid"].tolist()))
    whole = {worker: use for worker, of_worker in uses.items() for use in of_worker if use.kind == ALL}
    return tuple(
        _worker(worker, core, run, steps, whole.get(worker))
        for core in cores
        for worker in of_core(index.timeline, core, index.cores)
    )


def _worker(worker: int, core: int, run: pd.DataFrame, steps: pd.DataFrame, whole: GpuDevice | None) -> WorkerUse:
    mine = run[run["worker"] == worker]
    of_core = steps["worker"][(steps["pid"] == core) & (steps["worker"] >= 0)]
    return WorkerUse(
        worker_pid=worker,
        core_pid=core,
        steps=len(mine),
        run_median_ns=_median(mine["run_ns"]),
        own_median_ns=_median(mine["own_ns"]),
        others_median_ns=_median(mine["others_ns"]),
        slowest_share=float((of_core == worker).mean()) if len(of_core) else 0.0,
        idle_share=whole.idle_ns / whole.window_ns if whole and whole.window_ns else None,
    )


def _median(lengths: pd.Series) -> int:
    return int(lengths.median()) if len(lengths) else 0


def devices(index: Index, steps: pd.DataFrame, hops: pd.DataFrame, machine: MachineSamples) -> tuple[GpuDevice, ...]:
    """Each worker's device by kind of step, numbered in the order of the workers: busy, idle, and why idle."""
    rows: list[GpuDevice] = []
    for number, (worker, work) in enumerate(index.timeline.device.groupby("pid", sort=True)):
        busy, surely = busy_pieces(work)
        why = explained(index, hops, {int(worker)}, machine, busy)
        of_kinds = windows(steps, {index.cores.get(int(worker), -1)})
        rows += [waiting(number, kind, window, busy, why, surely_busy=surely) for kind, window in of_kinds]
    return tuple(rows)


def busy_pieces(work: pd.DataFrame) -> tuple[Pieces, Pieces]:
    """When a device can have been busy at most, and when it was for sure, from its rows of `Timeline.device`."""
    begin, end, given = (work[name].to_numpy(dtype=np.int64) for name in ("begin_ns", "end_ns", "given_ns"))
    sure = np.maximum(begin, given)
    return union(begin, end), union(sure[sure < end], end[sure < end])
