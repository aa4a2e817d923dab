"""What the steps of each kind are made of: medians of their phases, and what the core did while the worker was idle."""

from __future__ import annotations

import pandas as pd

from tracing.breakdown.review import StepKind
from tracing.timeline.steps import KINDS, PHASES

IDLE = "idle_"  # before the columns with what the core did while the worker was idle
MOST_IDLE = 5


def summary(steps: pd.DataFrame) -> tuple[StepKind, ...]:
    """A row a kind of step that there is; `steps` is the frame of `tracing.timeline.steps.anatomy`."""
    groups = ((kind, steps[steps["kind"] == kind]) for kind in KINDS)
    return tuple(_row(kind, rows) for kind, rows in groups if len(rows))


def _row(kind: str, rows: pd.DataFrame) -> StepKind:
    timed = rows[rows["period_ns"] > 0]
    period = int(timed["period_ns"].sum())
    idle = [name for name in rows if name.startswith(IDLE)]
    shares = {name.removeprefix(IDLE): int(timed[name].sum()) / period for name in idle if period}
    return StepKind(
        kind=kind,
        count=len(rows),
        median_ns=int((rows["end_ns"] - rows["start_ns"]).median()),
        tokens_median=float((rows["prefill_tokens"] + rows["decode_tokens"]).median()),
        requests_median=float((rows["prefill_requests"] + rows["decode_requests"]).median()),
        **{f"{phase}_median_ns": int(rows[f"{phase}_ns"].median()) for phase in PHASES},
        worker_idle_share=int(timed["worker_idle_ns"].sum()) / period if period else None,
        core_while_idle=dict(sorted(shares.items(), key=lambda share: -share[1])[:MOST_IDLE]),
    )
