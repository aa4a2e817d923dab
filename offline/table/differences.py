"""The differences of a run for people: a short table of main effects, and what stands under it."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from offline.differences.difference import Difference
from offline.differences.run import HEADLINE, Differences, RunDifferences

UNDER = (
    "Ratios of output tok/s with 95 % intervals that hold together: between arms by the multivariate t with starts as "
    "replicates, inside starts by Bonferroni. Other metrics and all cells are in differences.csv."
)
HEADINGS = ("axis", "from → to", "where", "ratio", "95 % interval", "in its cells", "verdict")


def headline(run: RunDifferences) -> list[tuple[str, ...]]:
    """The main effects in output tokens a second, a line of `HEADINGS` each; empty where nothing is replicated."""
    metric = run.by_metric.get(HEADLINE)
    return [_line(row, metric) for row in metric.main] if metric else []


def _line(row: Difference, metric: Differences) -> tuple[str, ...]:
    return (
        *(row.axis, f"{row.from_} → {row.to}", row.cell),
        *(f"{row.ratio:.3f}", row.interval, _interaction(row, metric.cells), row.sentence),
    )


def _interaction(main: Difference, cells: Sequence[Difference]) -> str:
    """`0.98 to 1.12`: the range of the same difference over the cells that a main effect averages."""
    held = set() if main.cell == "all" else set(main.cell.split())
    ratios = [
        row.ratio
        for row in cells
        if (row.axis, row.from_, row.to) == (main.axis, main.from_, main.to) and held <= set(row.cell.split())
    ]
    return f"{min(ratios):.2f} to {max(ratios):.2f}" if ratios else ""


def terminal_differences(lines: Sequence[tuple[str, ...]]) -> Table:
    """The lines of `headline` as a table for a terminal."""
    table = Table(header_style="bold", pad_edge=False, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in HEADINGS:
        table.add_column(Text(heading), overflow="fold", no_wrap=heading != "verdict")
    for axis, levels, where, *rest in lines:
        table.add_row(*map(Text, (axis, levels, where.replace(" ", "\n").replace("=", "=\n"), *rest)))
    return table
