"""The tables that only some load runs have: what figures lack, workers, two engines for one request, experts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from offline.traffic.experts import EXPERT_HEADINGS, EXPERTS, expert_rows
from offline.traffic.results import LoadResults
from offline.traffic.rows import WORKER_HEADINGS, RateRow, worker_rows
from offline.traffic.twoservers import SPLIT_ABOUT, SPLIT_HEADINGS, split_rows

LACKS = "What to know of a rate's figures before they are quoted."
WORKERS = "Of engines with more than one, right after the first start, in MiB."


@dataclass(frozen=True)
class SideTable:
    """A table with what stands above it; `text` are its columns that are no numbers."""

    title: str
    about: str
    headings: tuple[str, ...]
    lines: tuple[list[str], ...]
    text: tuple[int, ...] = (0,)


def side_tables(results: LoadResults, rows: Sequence[RateRow]) -> Iterator[SideTable]:
    """Those that the run has."""
    lacks = tuple([row.variant, row.rate, row.note] for row in rows if row.note)
    every = (
        SideTable("What the figures lack", LACKS, ("variant", "req/s", "note"), lacks, text=(0, 1, 2)),
        SideTable("Workers", WORKERS, WORKER_HEADINGS, tuple(worker_rows(results)), text=(0, 1)),
        SideTable("Two engines for one request", SPLIT_ABOUT, SPLIT_HEADINGS, tuple(split_rows(results))),
        SideTable("Experts", EXPERTS, EXPERT_HEADINGS, tuple(expert_rows(results))),
    )
    yield from (each for each in every if each.lines)
