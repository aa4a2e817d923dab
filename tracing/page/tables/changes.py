"""What changed from one trace to another as sentences and tables on a terminal, of several parts of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from rich.console import Console

from probes.console import show_text, table
from tracing.breakdown.changes import CHANGE_COLUMNS, StageChange, change_cells, changes_sentence


class ChangeWords(NamedTuple):
    """The words around changes: by part the beginning of its sentence and the title of its table, what its rows are,
    what the intervals say, and what is said where the traces have no part in common."""

    sentence: Callable[[str], str]
    title: Callable[[str], str]
    rows: str
    intervals: str
    nothing: str


def show(changes: Mapping[str, Sequence[StageChange]], words: ChangeWords, out: Console) -> None:
    """Print the changes of each part, of which the first is the whole's: the answers first."""
    compared = {part: each for part, each in changes.items() if each}
    if not compared:
        show_text(out, words.nothing)
        return
    for part, (whole, *others) in compared.items():
        show_text(out, f"{words.sentence(part)} {whole.times}; {changes_sentence(others)}.", "bold")
    for part, each in compared.items():
        columns = [words.rows, *CHANGE_COLUMNS[1:]]
        table(out, words.title(part), columns, [change_cells(change) for change in each])
    out.print()
    show_text(out, words.intervals)
