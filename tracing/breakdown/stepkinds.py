"""What the steps of each kind are made of: medians of their phases, and what the core did while the worker was idle."""

from __future__ import annotations

import pandas as pd

from tracing.breakdown.otherwatchers import GpuDevice
from tracing.breakdown.review import StepKind
from tracing.timeline.phases import PHASES
from tracing.timeline.steps import KINDS

MOST_IDLE = 5
COLUMNS = (*PHASES, "unexplained", "output", "worker_spread")


def summary(steps: pd.DataFrame, workers: dict[str, GpuDevice]) -> tuple[StepKind, ...]:
    """A row a kind of step that there is; `steps` is the frame of `tracing.timeline.steps.anatomy`.

    `workers` has the workers' time by kind; it is empty where they launch on a device and go on, so that their own idle
    time says nothing.
    """
    groups = ((kind, steps[steps["kind"] == kind]) for kind in KINDS)
    return tuple(_row(kind, rows, workers.get(kind)) for kind, rows in groups if len(rows))


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
        tokens_median=float((rows["prefill_tokens"] + rows["decode_tokens"]).median()),
        requests_median=float((rows["prefill_requests"] + rows["decode_requests"]).median()),
        **{f"{column}_median_ns": int(rows[f"{column}_ns"].median()) for column in COLUMNS},
        unexplained_share_median=float((rows["unexplained_ns"] / lengths.clip(lower=1)).median()),
        worker_idle_share=worker.idle_ns / window if worker and window else None,
        core_while_idle=shares,
    )
