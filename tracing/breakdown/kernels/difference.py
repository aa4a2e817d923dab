"""Two traces' kernels compared by family, in each kind of step that both have."""

from __future__ import annotations

import pandas as pd

from tracing.breakdown.changes import Budget, StageChange, block_means, stage_changes
from tracing.breakdown.kernels.families import FAMILIES
from tracing.breakdown.kernels.work import NO_STEP, OF_WORK


def family_changes(before: pd.DataFrame, after: pd.DataFrame) -> dict[str, list[StageChange]]:
    """By kind of step the change of the mean step's kernels (all families first, then the largest change).

    Both are frames of `with_kinds`. The replicates are blocks of steps of each trace. Where they have no kind of step
    in common, the sums of the work of no step are compared, which have no interval.
    """
    kinds = sorted(set(before["kind"]) & set(after["kind"]))
    with_steps = [kind for kind in kinds if OF_WORK[kind] != NO_STEP]
    sides = {
        kind: (block_means(budgets(before, kind)), block_means(budgets(after, kind))) for kind in with_steps or kinds
    }
    return {OF_WORK[kind]: stage_changes([pair]) for kind, pair in sides.items()}


def budgets(work: pd.DataFrame, kind: int) -> list[Budget]:
    """The nanoseconds by family of each step of a kind on each device, in order; of work of no step, of all of it."""
    mine = work[work["kind"] == kind]
    keys = ["core", "step", "device"] if OF_WORK[kind] != NO_STEP else ["kind"]
    took = mine.assign(ns=mine["end_ns"] - mine["start_ns"])
    table = took.groupby([*keys, "family"], sort=False)["ns"].sum().unstack(fill_value=0)
    first = mine.groupby(keys)["start_ns"].min().sort_values().index
    names = [FAMILIES[int(code)] for code in table.columns]
    return [dict(zip(names, map(float, row), strict=True)) for row in table.loc[first].to_numpy()]
