"""A run's table for the terminal: its differences, then as many rows and figures as fit."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from offline.differences.observations import CELL_AXES
from offline.differences.run import HEADLINE, RunDifferences
from offline.table.cells import Row
from offline.table.differences import UNDER, headline, terminal_differences
from offline.table.files import NO_DIFFERENCES, SHOWN, cached, figure, first_line, identity, number, plain
from offline.table.statistics import Drift
from probes.console import show as show_laid_out

RAN = "ran: requests that ran in a step, mean over steps."
STAR = "* is the best arm of its cell, or ties with it; without a second start of each arm there is none."
MOST_ROWS = 12  # unless all are asked for


def show(
    console: Console,
    rows: Sequence[Row],
    axes: tuple[str, ...],
    drift: Drift | None,
    differences: RunDifferences = NO_DIFFERENCES,
    every_row: bool = True,
) -> None:
    """The differences, then the short table, with as many figures as the width holds; a star marks the best arms.

    Without `every_row` a large grid is cut down to the fastest arm of each cell.
    """
    style = "" if drift and (drift.in_turns or drift.inside) else "bold yellow"
    show_laid_out(console, Text(first_line(drift), style))
    for note in differences.notes:
        show_laid_out(console, Text(note, "bold yellow"))
    if lines := headline(differences):
        show_laid_out(console, terminal_differences(lines))
        show_laid_out(console, Text(UNDER))
    total = len(rows)
    if not every_row and total > MOST_ROWS:
        rows = fastest(rows)
        show_laid_out(console, Text(f"The fastest arm of each cell; --all and table.md have all {total} rows.", "bold"))
    count = len(SHOWN)
    while count > 1 and _needed(console, cell_table(rows, axes, count, differences)) > console.width:
        count -= 1
    table = cell_table(rows, axes, count, differences)
    show_laid_out(console, table)
    if not any(row["trials"] for row in rows):
        return
    hidden = f" {len(SHOWN) - count} more figures are in table.md." if count < len(SHOWN) else ""
    legend = "± is half of a 95 % t-interval over a cell's trials, which says nothing of other starts. "
    show_laid_out(console, Text(f"{legend}{STAR} {RAN}{hidden}"))


def fastest(rows: Sequence[Row]) -> list[Row]:
    """Of each cell the arm with the highest throughput; a cell without any is left out."""
    best: dict[tuple[object, ...], Row] = {}
    for row in rows:
        cell = tuple(row[axis] for axis in CELL_AXES)
        figure = number(row, HEADLINE)
        if figure is not None and figure > (number(best[cell], HEADLINE) or 0.0 if cell in best else 0.0):
            best[cell] = row
    return list(best.values())


def _needed(console: Console, table: Table) -> int:
    return console.measure(table, options=console.options.update(max_width=1000)).maximum


def cell_table(
    rows: Sequence[Row], axes: tuple[str, ...], count: int, differences: RunDifferences = NO_DIFFERENCES
) -> Table:
    """The table for a terminal with the first `count` figures of SHOWN."""
    always = (*axes, "batch_size", "cache_state", "prefix_caching")
    keys = [k for k in identity(axes) if k in always or len({row[k] for row in rows}) > 1]
    keys += ["status"] if any(row["status"] != "ok" for row in rows) else []
    table = Table(header_style="bold", pad_edge=False, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for key in keys:
        table.add_column(Text(key.replace("_", "\n")), overflow="fold")
    table.add_column("ran", justify="right", overflow="fold")
    for heading, *_ in SHOWN[:count]:
        table.add_column(Text(heading.replace(" ", "\n", 1)), justify="right", overflow="fold")
    table.add_column("cached /\nexpected", justify="right", overflow="fold")
    for row in rows:
        running = number(row, "running_mean")
        words = [*(plain(row.get(k)) for k in keys), f"{running:.1f}" if running else ""]
        if row["trials"]:
            words += [
                starred(row, column, digits, differences.is_best(column, row)) for _, column, digits in SHOWN[:count]
            ]
        table.add_row(*(Text(word) for word in words + [""] * (len(keys) + 1 + count - len(words))), Text(cached(row)))
    return table


def starred(row: Row, column: str, digits: int, best: bool) -> str:
    """`353.1 ±2.0*`: a figure with its half interval, or `n=1`; a star where it is the best of its cell."""
    mean, lo, hi = figure(row, column)
    if mean is None:
        return "n/a"
    spread = "n=1" if lo is None or hi is None else f"±{(hi - lo) / 2:.{digits}f}"
    return f"{mean:.{digits}f} {spread}{'*' if best else ''}"
