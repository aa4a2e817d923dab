"""The tables that only some load runs have: of workers, of two engines for one request, of a mixture's experts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from offline.traffic.experts import EXPERT_HEADINGS, EXPERTS, expert_rows
from offline.traffic.results import LoadResults
from offline.traffic.rows import WORKER_HEADINGS, worker_rows
from offline.traffic.twoservers import SPLIT_ABOUT, SPLIT_HEADINGS, split_rows

WORKERS = "Of engines with more than one, right after the first start, in MiB."


@dataclass(frozen=True)
class SideTable:
    """A table with what stands above it; `text` are its columns that are no numbers."""

    title: str
    about: str
    headings: tuple[str, ...]
    lines: tuple[list[str], ...]
    text: tuple[int, ...] = (0,)


def side_tables(results: LoadResults) -> Iterator[SideTable]:
    """Those that the run has."""
    every = (
        SideTable("Workers", WORKERS, WORKER_HEADINGS, tuple(worker_rows(results)), text=(0, 1)),
        SideTable("Two engines for one request", SPLIT_ABOUT, SPLIT_HEADINGS, tuple(split_rows(results))),
        SideTable("Experts", EXPERTS, EXPERT_HEADINGS, tuple(expert_rows(results))),
    )
    yield from (each for each in every if each.lines)
