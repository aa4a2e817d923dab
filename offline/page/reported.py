"""A run as its page shows it: the record of the run, its rows, trials, requests, differences and drift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from offline.budgets.cellbudget import CellBudget, cell_budgets, slowdown
from offline.budgets.reason import Reason, reasons
from offline.differences.observations import CELL_AXES
from offline.differences.run import HEADLINE, RunDifferences
from offline.environments.changedcode import ChangedStage, changed_stages
from offline.records.lines import Record, RequestRecord, StartRecord, TrialRecord
from offline.records.run import RunRecord, read_run
from offline.records.runfolder import read_records
from offline.spec.grid import Arm
from offline.table.cells import Row, rows, run_drift
from offline.table.files import arm_name
from offline.table.frames import grid_differences, planned_arms
from offline.table.statistics import Drift, Figure


@dataclass(frozen=True)
class ReportedRun:
    """Everything that the page shows; `requests` has those of each cell, by its id."""

    record: RunRecord
    axes: tuple[str, ...]
    rows: tuple[Row, ...]
    requests: dict[str, tuple[RequestRecord, ...]]
    drift: Drift | None
    differences: RunDifferences
    budgets: dict[str, CellBudget] = field(default_factory=dict)  # of recorded trials, by the cell's id
    reasons: tuple[Reason, ...] = ()
    slowdown: Figure | None = None  # of recorded trials, as a ratio
    changed_stages: tuple[ChangedStage, ...] = ()  # between environments

    @property
    def measured(self) -> list[Row]:
        """The cells that have a throughput."""
        return [row for row in self.rows if row.get("output_tok_s") is not None]

    def name(self, row: Row) -> str:
        """What tells a row from the others of its batch size: `block_size=32 prefix_caching=on, warm, input_len=64`."""
        states = {str(each["cache_state"]) for each in self.rows}
        state = [str(row["cache_state"])] if len(states) > 1 else []
        return ", ".join([arm_name(row, self.axes), *state, *self._lengths(row)])

    def batch_name(self, row: Row) -> str:
        """Its batch size, with the lengths and the temperature where these vary: `8, input_len=64`."""
        return ", ".join([str(row["batch_size"]), *self._lengths(row)])

    def _lengths(self, row: Row) -> list[str]:
        varied = [axis for axis in CELL_AXES[2:] if len({each[axis] for each in self.rows}) > 1]
        return [f"{axis}={row[axis]}" for axis in varied]

    def by_name(self) -> dict[str, list[Row]]:
        """The measured cells of each line of a chart, by batch size."""
        lines: dict[str, list[Row]] = {}
        for row in sorted(self.measured, key=lambda each: float(str(each["batch_size"]))):
            lines.setdefault(self.name(row), []).append(row)
        return lines


def reported_run(folder: Path) -> ReportedRun:
    """The run in a folder; `EnginescopeError` where it is none or of another schema."""
    grid = list(planned_arms(folder).values())
    return report_of(read_run(folder), grid, read_records(folder))


def report_of(record: RunRecord, grid: Sequence[Arm], records: Sequence[Record]) -> ReportedRun:
    """The run of a grid's records."""
    drift = run_drift(records, record.alive)
    trials = [each for each in records if isinstance(each, TrialRecord)]
    requests: dict[str, tuple[RequestRecord, ...]] = {}
    for trial in trials:
        requests[trial.cell] = requests.get(trial.cell, ()) + trial.requests
    table = rows(grid, record.spec.repeats * record.spec.starts, records, record.rates)
    differences = grid_differences(grid, records, drift)
    headline = differences.by_metric.get(HEADLINE)
    why = tuple(reasons(grid, records, headline.main)) if headline else ()
    return ReportedRun(
        *(record, grid[0].axes, tuple(table), requests, drift, differences),
        budgets=cell_budgets(records),
        reasons=why,
        slowdown=slowdown(records),
        changed_stages=tuple(changed_stages(why, record.environments, _v2_runner(records))),
    )


def _v2_runner(records: Sequence[Record]) -> bool | None:
    """Whether Model Runner V2 ran; None where that is not known, or differs."""
    runners = {each.resolved.v2_model_runner for each in records if isinstance(each, StartRecord)}
    return runners.pop() if len(runners) == 1 else None
