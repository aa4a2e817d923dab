"""Intervals of one thread, which nest: those open at a time, told in the order in which they begin."""

from __future__ import annotations

from typing import Generic, TypeVar

import pandas as pd

Item = TypeVar("Item")


class Nesting(Generic[Item]):
    """The intervals of one thread that are open, the outermost first, each as its end and an item of the caller's."""

    def __init__(self) -> None:
        self.open: list[tuple[int, Item]] = []

    def begin(self, start: int, end: int, item: Item) -> list[tuple[int, Item]]:
        """Open an interval, cut to the one around it; returns those that were over by its start, innermost first.

        Intervals begin in the order of their starts, of those with one start the longest first.
        """
        over = self.close(start)
        self.open.append((min(end, self.open[-1][0]) if self.open else end, item))
        return over

    def close(self, until: int | None = None) -> list[tuple[int, Item]]:
        """Close those that end by a time, or all; innermost first."""
        over = []
        while self.open and (until is None or self.open[-1][0] <= until):
            over.append(self.open.pop())
        return over


def outermost(rows: pd.DataFrame) -> pd.DataFrame:
    """Of spans that nest within their process, sorted by start, those inside no other."""
    reach = rows.groupby("pid")["end_ns"].cummax().groupby(rows["pid"]).shift(fill_value=0)
    return rows[rows["end_ns"] > reach]
