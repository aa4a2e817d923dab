"""Where a cell's time goes, on the page: the stages of its requests, the columns of its steps, and what grew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import plotly.graph_objects as go

from offline.budgets.cellbudget import CellBudget, mean_budget
from offline.budgets.reason import Reason
from offline.page.charts import COLOURS, empty_chart
from offline.page.reported import ReportedRun
from offline.table.cells import Row
from offline.table.statistics import Figure
from probes.console import us
from tracing.breakdown.changes import CHANGE_COLUMNS, Budget, change_cells
from tracing.timeline.steps.phases import title

MOST_STAGES = 9  # with a column and a colour of their own; the rest is together
REST = "rest"
BAR_PX = 22
CHANGES = ("difference", *CHANGE_COLUMNS)


def budget_chart(run: ReportedRun) -> go.Figure:
    """The mean request of each cell, a bar a cell, a piece a stage."""
    cells, stages = [(row, budget) for row, budget in _cells(run) if budget.requests], _stages(run)
    figure = empty_chart("ms of the mean request", "", barmode="stack")
    names = [f"{run.name(row)}, batch {row['batch_size']}" for row, _ in cells]
    for i, stage in enumerate(stages):
        values = [each / 1e6 for each in (_parts(budget.stages, stages)[i] for _, budget in cells)]
        figure.add_bar(y=names, x=values, name=stage, orientation="h", marker_color=COLOURS[i % len(COLOURS)])
    figure.update_layout(height=220 + BAR_PX * len(cells))
    figure.update_yaxes(automargin=True, autorange="reversed")
    return figure


def _cells(run: ReportedRun) -> list[tuple[Row, CellBudget]]:
    """The cells with a budget, in the order of the table."""
    pairs = ((row, run.budgets.get(str(row["cell"]))) for row in run.rows)
    return [(row, budget) for row, budget in pairs if budget is not None]


def _stages(run: ReportedRun) -> list[str]:
    """The stages that take most over all cells, then the rest."""
    mean = mean_budget([budget.stages for budget in run.budgets.values() if budget.requests])
    ordered = sorted(mean, key=lambda stage: -mean[stage])
    return [*ordered[:MOST_STAGES], *([REST] if len(ordered) > MOST_STAGES else [])]


def _parts(stages: Budget, names: Sequence[str]) -> list[float]:
    """Nanoseconds of each name, the rest last."""
    named = [stages.get(name, 0.0) for name in names if name != REST]
    return [*named, sum(stages.values()) - sum(named)] if REST in names else named


def _lengths(budget: CellBudget, stages: Sequence[str]) -> list[float] | list[None]:
    """Nanoseconds of the mean request and of each stage; not known where no request was recorded whole."""
    return [budget.request_ns, *_parts(budget.stages, stages)] if budget.requests else [None] * (1 + len(stages))


def request_table(run: ReportedRun) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: the mean request of each cell by stage."""
    stages = _stages(run)
    rows = [
        [
            f"{run.name(row)}, batch {row['batch_size']}",
            f"{budget.requests}" + (f" (and {budget.cut} cut)" if budget.cut else ""),
            *map(us, _lengths(budget, stages)),
        ]
        for row, budget in _cells(run)
    ]
    return ["cell", "requests", "the whole", *stages], rows


def step_table(run: ReportedRun) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: the mean step of each cell and kind by phase."""
    lines = [(row, kind, budget) for row, budget in _cells(run) for kind in budget.steps if kind != "empty"]
    mean = mean_budget([budget.steps[kind] for _, kind, budget in lines])
    phases = sorted((phase for phase in mean if mean[phase] > 0.002 * sum(mean.values())), key=lambda each: -mean[each])
    rows = [
        [
            f"{run.name(row)}, batch {row['batch_size']}",
            kind,
            f"{budget.counts[kind]:g}",
            us(sum(budget.steps[kind].values())),
            *(us(budget.steps[kind].get(phase, 0.0)) for phase in phases),
        ]
        for row, kind, budget in lines
    ]
    return ["cell", "step", "a trial", "length", *map(title, phases)], rows


def change_rows(reasons: Sequence[Reason]) -> Iterator[list[str]]:
    """A row of `CHANGES` for each stage of each difference between arms."""
    for reason in reasons:
        row = reason.difference
        name = f"{row.axis} {row.from_} → {row.to}" + ("" if row.cell == "all" else f" ({row.cell})")
        yield from ([name, *change_cells(change)] for change in reason.changes)


def cost_sentence(slowdown: Figure | None) -> str:
    """What the recorder made of the speed of the trials that it recorded."""
    hooks = "In timed trials its hooks only pass calls on, in every arm alike: 6 µs a step where that was measured."
    if slowdown is None:
        return hooks
    ends = (
        "n=1"
        if slowdown.lo is None or slowdown.hi is None
        else f"95 % interval {slowdown.lo:.3f} to {slowdown.hi:.3f}, {slowdown.n} starts"
    )
    return f"Recorded trials took {slowdown.mean:.3f} times as long as timed ones ({ends}). {hooks}"
