"""Tables in Markdown: whatever stands in a cell stays in it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], right: Collection[int] = ()) -> list[str]:
    """The lines of a table, of which the columns numbered in `right` are set to the right; None is an empty cell."""
    marks = ["---:" if place in right else "---" for place in range(len(headings))]
    return [_line(headings), _line(marks), *map(_line, rows)]


def _line(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(value: object) -> str:
    return "" if value is None else str(value).replace("|", "\\|").replace("\n", " ")
