"""How figures look on a terminal: times and shares as text, tables that are not cut where there is no terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

Rows = list[list[Any]]
PLAIN_WIDTH = 180  # of what is not a terminal: no column is cut there


def console() -> Console:
    """Standard output."""
    made = Console(highlight=False)
    if not made.is_terminal:
        made.width = PLAIN_WIDTH
    return made


def us(ns: float | None) -> str:
    """Nanoseconds as text in a unit that fits."""
    if ns is None:
        return "n/a"
    return f"{ns / 1e3:,.1f} µs" if abs(ns) < 1e6 else f"{ns / 1e6:,.2f} ms" if abs(ns) < 1e9 else f"{ns / 1e9:,.2f} s"


def percent(share: float | None) -> str:
    if share is None:
        return "n/a"
    return "<0.01%" if 0 < share < 0.0001 else f"{share:.2%}"


def table(out: Console, title: str, columns: list[str], rows: Rows, text: tuple[int, ...] = ()) -> None:
    """Print rows, if there are any, after an empty line; the first column and those of `text` are set to the left."""
    if not rows:
        return
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for place, name in enumerate(columns):
        made.add_column(name, justify="left" if place in (0, *text) else "right")
    for row in rows:
        made.add_row(*map(str, row))
    out.print()
    out.print(made)
