"""Models and the cards that they run on, on the page: size, memory a card, how even the cards are, and throughput."""

from __future__ import annotations

from collections.abc import Iterator

from offline.page.reported import ReportedRun
from offline.table.cards import EVEN
from offline.table.cells import Row
from offline.table.files import arm_name, number

MIB = 1 << 20
COLUMNS = ("arm", "weights", "cards", "memory a card", "least filled / fullest", "best tok/s", "a card")


def has_cards(run: ReportedRun) -> bool:
    """Whether there is something to say: several models, or several cards."""
    return "model" in run.axes or any((number(row, "cards") or 1) > 1 for row in run.measured)


def _arms(run: ReportedRun) -> dict[str, Row]:
    """The fastest cell of each arm, by the arm's name."""
    best: dict[str, Row] = {}
    for row in sorted(run.measured, key=lambda each: -(number(each, "output_tok_s") or 0)):
        best.setdefault(arm_name(row, run.axes), row)
    return best


def card_rows(run: ReportedRun) -> list[list[str]]:
    """A row of `COLUMNS` an arm, the fastest first."""
    return [_line(name, row) for name, row in _arms(run).items()]


def _line(name: str, row: Row) -> list[str]:
    cards, rate, balance = (number(row, column) for column in ("cards", "output_tok_s", "card_balance"))
    return [
        name,
        _size(number(row, "weights_bytes")),
        f"{cards:.0f}" if cards else "n/a",
        _size(number(row, "card_memory_bytes")),
        "n/a" if balance is None else f"{balance:.0%}",
        f"{rate:.1f}" if rate else "n/a",
        f"{rate / cards:.1f}" if rate and cards else "n/a",
    ]


def _size(size_bytes: float | None) -> str:
    return "n/a" if size_bytes is None else f"{size_bytes / MIB:,.0f} MiB"


def uneven(run: ReportedRun) -> Iterator[str]:
    """A sentence for each arm whose cards differ by more than a tenth."""
    for name, row in _arms(run).items():
        balance = number(row, "card_balance")
        if balance is not None and balance < EVEN:
            fullest = _size(number(row, "card_memory_bytes"))
            yield f"{name}: its cards are uneven, the least filled has {balance:.0%} of the {fullest} of the fullest."
