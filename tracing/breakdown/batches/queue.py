"""Why the head of the waiting queue stayed there, step by step, and what the steps used of their budgets."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from probes.columns import column
from tracing.events.step import HELD_BACK, NOBODY, NOT_KNOWN, NOT_TOLD
from tracing.timeline.spans import Timeline
from tracing.timeline.steps.anatomy import batch_sizes, by_kind, scheduled_tokens, working
from tracing.timeline.steps.heldback import reasons


@dataclass(frozen=True)
class HeldBackSteps:
    """A row of `queue`: the steps after which the head of the queue waited for one reason, the most first."""

    reason: str = field(metadata=column("why the scheduler did not admit it"))
    steps: int = field(metadata=column("after which that was so", "steps"))
    share: float = field(metadata=column("of the steps that left a queue", "1"))
    waiting_median: float = field(metadata=column("in the queue, at the median of these steps", "requests"))


@dataclass(frozen=True)
class BudgetUse:
    """A row of `use`: what the steps of a kind used of what a step may have."""

    kind: str = field(metadata=column("as in `steps`"))
    steps: int = field(metadata=column("how many there were", "steps"))
    token_limit: int = field(metadata=column("the tokens that a step may schedule", "tokens"))
    token_share: float = field(metadata=column("of them, scheduled on the mean", "1"))
    sequence_limit: int = field(metadata=column("the requests that may run", "requests"))
    sequence_share: float = field(metadata=column("of them, scheduled on the mean", "1"))
    full_share: float = field(metadata=column("steps that used all tokens, or all requests", "1"))


def held_back(timeline: Timeline, steps: pd.DataFrame) -> tuple[HeldBackSteps, ...]:
    """A row a reason; none in traces that do not tell. `steps` is the frame of `anatomy`, or a part of it."""
    waiting = steps[["pid", "step", "waiting"]].merge(reasons(timeline), on=["pid", "step"])
    left_a_queue = waiting[~waiting["head_held_back"].isin((NOBODY, NOT_TOLD))]
    whole = len(left_a_queue)
    rows = [
        HeldBackSteps(
            reason=HELD_BACK.get(int(code), HELD_BACK[NOT_KNOWN]),
            steps=len(each),
            share=len(each) / whole,
            waiting_median=float(each.median()),
        )
        for code, each in left_a_queue.groupby("head_held_back")["waiting"]
    ]
    return tuple(sorted(rows, key=lambda row: -row.steps))


def budget_use(steps: pd.DataFrame) -> tuple[BudgetUse, ...]:
    """A row a kind of step but the empty ones; `steps` is the frame of `anatomy`. None where the limits are not told.

    Where several engines have different limits, the largest is named, and each step is held against its own.
    """
    known = steps[(steps["token_limit"] > 0) & (steps["sequence_limit"] > 0)]
    return tuple(_use(kind, rows) for kind, rows in by_kind(working(known)))


def _use(kind: str, steps: pd.DataFrame) -> BudgetUse:
    tokens = scheduled_tokens(steps) / steps["token_limit"]
    sequences = batch_sizes(steps) / steps["sequence_limit"]
    return BudgetUse(
        kind=kind,
        steps=len(steps),
        token_limit=int(steps["token_limit"].max()),
        token_share=float(tokens.mean()),
        sequence_limit=int(steps["sequence_limit"].max()),
        sequence_share=float(sequences.mean()),
        full_share=float(((tokens >= 1) | (sequences >= 1)).mean()),
    )
