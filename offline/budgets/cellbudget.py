"""Where the time of each cell goes, from its recorded trials; and what the recorder made of their speed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from offline.records.lines import Record, TrialRecord
from offline.records.traced import TracedRecord
from offline.table.statistics import Figure, mean_interval
from tracing.breakdown.changes import Budget


@dataclass(frozen=True)
class CellBudget:
    """The mean over recorded trials, one of each start, of what a cell's requests and steps are made of.

    `stages` has the mean request's nanoseconds, `steps` those of the mean step of each kind by phase, `counts` the
    steps of a trial. `folders` are the traces, for python -m tracing.review.
    """

    requests: int
    cut: int
    stages: Budget
    steps: dict[str, Budget]
    counts: dict[str, float]
    folders: tuple[str, ...]

    @property
    def request_ns(self) -> float:
        """The latency of the mean request."""
        return sum(self.stages.values())


def cell_budgets(records: Sequence[Record]) -> dict[str, CellBudget]:
    """The budget of each cell that has one, by the cell's id."""
    by_cell: dict[str, list[TracedRecord]] = {}
    for record in records:
        if isinstance(record, TracedRecord):
            by_cell.setdefault(record.cell, []).append(record)
    return {cell: _cell_budget(trials) for cell, trials in by_cell.items()}


def _cell_budget(trials: Sequence[TracedRecord]) -> CellBudget:
    times = [trial.times for trial in trials]
    kinds = dict.fromkeys(steps.kind for each in times for steps in each.steps)
    of_kinds = {kind: [steps for each in times for steps in each.steps if steps.kind == kind] for kind in kinds}
    return CellBudget(
        requests=sum(each.requests for each in times),
        cut=sum(each.cut for each in times),
        stages=mean_budget([each.budget() for each in times if each.requests]),
        steps={kind: mean_budget([each.budget() for each in steps]) for kind, steps in of_kinds.items()},
        counts={kind: sum(each.count for each in steps) / len(times) for kind, steps in of_kinds.items()},
        folders=tuple(trial.folder for trial in trials),
    )


def mean_budget(budgets: Sequence[Budget]) -> Budget:
    """The mean of some budgets; what one of them does not have is 0 in it."""
    names = dict.fromkeys(name for each in budgets for name in each)
    return {name: sum(each.get(name, 0.0) for each in budgets) / len(budgets) for name in names}


def slowdown(records: Sequence[Record]) -> Figure | None:
    """How much longer recorded trials took than timed ones of the same cells and starts: a ratio, with starts as
    replicates, from geometric means; None where no start has both."""
    timed: dict[tuple[int, str], list[float]] = {}
    for record in records:
        if isinstance(record, TrialRecord):
            timed.setdefault((record.engine, record.cell), []).append(math.log(record.elapsed_s))
    by_start: dict[int, list[float]] = {}
    for record in records:
        if isinstance(record, TracedRecord) and (logs := timed.get((record.engine, record.cell))):
            by_start.setdefault(record.engine, []).append(math.log(record.elapsed_s) - sum(logs) / len(logs))
    figure = mean_interval([sum(logs) / len(logs) for logs in by_start.values()])
    if figure is None:
        return None
    lo, hi = (None if end is None else math.exp(end) for end in (figure.lo, figure.hi))
    return Figure(math.exp(figure.mean), lo, hi, figure.n)
