"""Why one arm is slower than another: the stages of a request whose time grew, with engine starts as replicates.

Where no request was recorded whole, its place is taken by a decode step and its phases.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from offline.budgets.cellbudget import mean_budget
from offline.differences.difference import Difference
from offline.differences.observations import Levels, varied
from offline.records.lines import Record
from offline.records.traced import TracedRecord
from offline.spec.grid import Arm, Cell
from probes.console import us
from probes.statistics.intervals import NONE_SEEN
from tracing.breakdown.changes import Budget, Pair, StageChange, changes_sentence, stage_changes
from tracing.breakdown.requests.windowtimes import WindowTimes

PARTS: dict[str, Callable[[WindowTimes], Budget]] = {
    "request": WindowTimes.budget,
    "decode step": lambda times: times.step_budget("decode"),
}


@dataclass(frozen=True)
class Reason:
    """A difference between arms, and the change of the mean request (or decode step: `part`), then of each of its
    stages, the largest first."""

    difference: Difference
    part: str
    changes: tuple[StageChange, ...]

    @property
    def changed(self) -> list[StageChange]:
        """The stages whose change is beyond its interval."""
        return [change for change in self.changes[1:] if change.grew or change.shrank]

    @property
    def sentence(self) -> str:
        """`block_size 32 → 64: slower, a request takes 52.00 ms, before 50.00 ms; forward +1.90 ms (…)`.

        Whether it is slower the timed trials say; the recorded ones, of which there are few, say where.
        """
        row, whole = self.difference, self.changes[0]
        where = "" if row.cell == "all" else f" ({row.cell})"
        verdict = "" if row.verdict == NONE_SEEN else f"{row.verdict}, "
        start = (
            f"{row.axis} {row.from_} → {row.to}{where}: {verdict}a recorded {self.part} takes {us(whole.after_ns)}, "
        )
        return f"{start}before {us(whole.before_ns)}; {changes_sentence(self.changes[1:])}."


def reason_sentences(reasons: Iterable[Reason]) -> list[str]:
    """A sentence for each difference that was seen."""
    return [reason.sentence for reason in reasons if reason.difference.verdict != NONE_SEEN]


def reasons(grid: Sequence[Arm], records: Sequence[Record], differences: Iterable[Difference]) -> list[Reason]:
    """What the recorded trials say of each difference between arms; those without such trials are left out."""
    traced = [record for record in records if isinstance(record, TracedRecord)]
    arm_axes = set(grid[0].levels) if grid else set()
    every = (_reason(grid, traced, row) for row in differences if row.axis in arm_axes)
    return [reason for reason in every if reason is not None]


def _reason(grid: Sequence[Arm], traced: Sequence[TracedRecord], row: Difference) -> Reason | None:
    for part in PARTS:
        if changes := stage_changes(list(_pairs(grid, traced, row, part))):
            return Reason(row, part, tuple(changes))
    return None


def _pairs(grid: Sequence[Arm], traced: Sequence[TracedRecord], row: Difference, part: str) -> Iterator[Pair]:
    """Budgets of the starts of every two arms that differ in nothing but the row's axis, over the cells it is about."""
    having = [arm for arm in grid if any(holds(row.cell, vars(cell)) for cell in arm.cells)]  # warm cells: where cached
    arms = [
        (before, after)
        for before, after in itertools.permutations(having, 2)
        if varied([before.levels, after.levels]) == [row.axis]
        and (str(before.levels[row.axis]), str(after.levels[row.axis])) == (row.from_, row.to)
        and holds(row.cell, before.levels)
    ]
    every = [set(arm.cells) for pair in arms for arm in pair]
    cells = [cell for cell in set.intersection(*every) if holds(row.cell, vars(cell))] if every else []
    for before, after in arms:
        yield _starts(before, cells, traced, part), _starts(after, cells, traced, part)


def holds(label: str, levels: Levels) -> bool:
    """Whether levels are those of a label such as `batch_size=4 cache_state=cold`, which need not name all of them."""
    words = f" {label} "
    return all(f" {axis}={value} " in words for axis, value in levels.items() if f" {axis}=" in words)


def _starts(arm: Arm, cells: Sequence[Cell], traced: Sequence[TracedRecord], part: str) -> list[Budget]:
    """The mean request or step of each start of an arm, over some cells, all of which the start has."""
    ids = {arm.cell_id(cell) for cell in cells}
    by_start: dict[int, dict[str, Budget]] = {}
    for record in traced:
        if record.cell in ids and (budget := PARTS[part](record.times)):
            by_start.setdefault(record.engine, {})[record.cell] = budget
    return [mean_budget(list(budgets.values())) for budgets in by_start.values() if budgets.keys() == ids]
