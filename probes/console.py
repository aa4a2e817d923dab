"""How figures look on a terminal or in a pipe: times and shares as text, tables as wide as there is room."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

Rows = list[list[Any]]  # of texts, numbers and None, each column of its own
PLAIN_WIDTH = 180  # where neither a terminal nor COLUMNS says how wide
GAP = 2  # between columns
LEAST_TEXT = 20  # columns that a long text is folded to, if need be


@dataclass(frozen=True)
class Section:
    """A table with its heading; the first column is text, so are those in `text`."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    text: tuple[int, ...] = (0,)


def console() -> Console:
    """Standard output, as wide as the terminal that the command was started from, or as COLUMNS says.

    A sentence that goes to no terminal stays on one line.
    """
    out = Console(highlight=False)
    out.soft_wrap = not out.is_terminal
    known = out.is_terminal or "COLUMNS" in os.environ or any(map(os.isatty, (0, 2)))
    if not known:
        out.width = PLAIN_WIDTH
    return out


def printable(text: str) -> str:
    """One line without control characters: nothing that a server sent may move the cursor or colour a terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def us(ns: float | None) -> str:
    """Nanoseconds as text in a unit that fits."""
    if ns is None:
        return "n/a"
    return f"{ns / 1e3:,.1f} µs" if abs(ns) < 1e6 else f"{ns / 1e6:,.2f} ms" if abs(ns) < 1e9 else f"{ns / 1e9:,.2f} s"


def percent(share: float | None) -> str:
    """A share of one: `12.34%`, `<0.01%` for what is there and too small to be shown, `0%` for nothing at all."""
    if share is None:
        return "n/a"
    return "0%" if share == 0 else "<0.01%" if 0 < share < 0.0001 else f"{share:.2%}"


def show(out: Console, laid_out: RenderableType) -> None:
    """Print what has a layout; where that goes to no terminal, without spaces at the ends of lines."""
    if out.is_terminal:
        out.print(laid_out, soft_wrap=False)
        return
    with out.capture() as capture:
        out.print(laid_out, soft_wrap=False)
    for line in capture.get().splitlines():
        out.out(line.rstrip(), highlight=False)


def show_text(out: Console, text: str, style: str = "") -> None:
    """Print a sentence as it is: wrapped between its words on a terminal, elsewhere on one line, for grep."""
    out.print(Text(text, style), soft_wrap=not out.is_terminal)


def table(out: Console, title: str, columns: list[str], rows: Rows, text: tuple[int, ...] = ()) -> None:
    """Print rows, if there are any, after an empty line; the first column and those of `text` are set to the left.

    What came from a model, a prompt or a server is text in it and never markup. What does not fit beside each other
    stands below each other, each part with the first column.
    """
    if not rows:
        return
    heads, *cells = ([Text(printable(str(cell))) for cell in row] for row in (columns, *rows))
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    for number, part in enumerate(_parts(widths, text, out.width)):
        shown = Table(box=None, pad_edge=False, header_style="dim")
        for place in part:
            left = place in (0, *text)
            shown.add_column(heads[place], justify="left" if left else "right", no_wrap=not left, overflow="fold")
        for row in cells:
            shown.add_row(*(row[place] for place in part))
        out.print()
        if not number:
            show_text(out, printable(title), "bold")
        show(out, shown)


def show_section(out: Console, section: Section) -> None:
    """Print a section."""
    table(out, section.title, section.columns, section.rows, section.text)


def _parts(widths: list[int], text: tuple[int, ...], room: int) -> Iterator[list[int]]:
    """The columns in groups that fit into a width; the first column leads each, and texts may be folded."""
    least = [min(width, LEAST_TEXT) if place in (0, *text) else width for place, width in enumerate(widths)]
    part, used = [0], least[0]
    for place in range(1, len(widths)):
        if used + GAP + least[place] > room and len(part) > 1:
            yield part
            part, used = [0], least[0]
        part.append(place)
        used += GAP + least[place]
    yield part


def counted(count: int, noun: str, several: str = "") -> str:
    """`1 graph`, `1,024 graphs`; with its own plural, `1 process`, `2 processes`."""
    return f"{count:,} {noun if count == 1 else several or noun + 's'}"
