"""A table's story out of a run folder of `offline.sweep` or a trace folder of `tracing.record`."""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from notes.tables.runfile import read_run, table_machine, versions
from notes.tables.story import (
    BudgetRow,
    BudgetTable,
    CellMean,
    Origin,
    Story,
    SweepCell,
    SweepTable,
)
from probes.errors import EnginescopeError, usage_error
from tracing.breakdown.findings import findings
from tracing.events.tracefile import TraceRecord, read_trace

MEANS = ("output_tok_s", "ttft_s_p50", "tpot_s_p50", "latency_s_p50")  # each has its interval in `_lo` and `_hi`
# Of a path from the root or the home all but its last name.
FOLDERS = re.compile(r"(?<![\w.:/])~?/+(?:[^\s'\"/,=]+/+)*")


def story(folder: Path) -> Story:
    """The story of a run or trace folder; an `EnginescopeError` where it is neither or is damaged."""
    try:
        if (folder / "run.json").is_file():
            return _sweep(folder)
        if folder.is_dir() and (trace := read_trace(folder)):
            return _budget(folder, trace)
    except (OSError, ValueError, KeyError, StopIteration) as error:
        raise EnginescopeError(f"{folder} cannot be read: {type(error).__name__} {error}") from None
    raise usage_error(f"{folder} is neither a run (python -m offline.sweep) nor a trace (python -m tracing.record)")


def _sweep(folder: Path) -> SweepTable:
    run = read_run(folder)
    with (folder / "table.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = list(rows[0]) if rows else ["status"]
    axes = tuple(columns[: columns.index("status")])  # what a cell is stands before how it went
    origin = Origin(
        name=re.sub(r"[^A-Za-z0-9._-]+", "-", f"sweep-{run.model}-{run.variant}"),
        title=f"Throughput of {run.model} against batch size",
        command=without_paths(run.command_line),
        machine=run.machine,
        versions=run.versions,
        date=run.began[:10],
        state=run.state,
        caution=without_paths((folder / "table.md").read_text(encoding="utf-8").partition("\n")[0]),
    )
    return SweepTable(origin, axes, tuple(_cell(row, axes) for row in rows))


def _cell(row: Mapping[str, str], axes: Sequence[str]) -> SweepCell:
    return SweepCell(
        axes={axis: row[axis] for axis in axes},
        status=row["status"],
        reason=without_paths(row["reason"]),
        trials=int(float(row["trials"] or 0)),
        means={name: _mean(row, name) for name in MEANS},
    )


def _mean(row: Mapping[str, str], name: str) -> CellMean | None:
    mean, low, high = (_number(row.get(name + end)) for end in ("", "_lo", "_hi"))
    return None if mean is None else CellMean(mean, low, high)


def _number(text: str | None) -> float | None:
    """To six digits."""
    return float(f"{float(text):.6g}") if text else None


def _budget(folder: Path, trace: TraceRecord) -> BudgetTable:
    review = findings(folder).review
    command, machine = without_paths(trace.command), trace.machine.as_dict()
    problems = "; ".join(without_paths(problem) for problem in review.problems)
    origin = Origin(
        name=re.sub(r"[^A-Za-z0-9]+", "-", f"budget-{command.removeprefix('python -m ').removeprefix('python ')}"),
        title=f"Where a request's time goes: {command}",
        command=f"python -m tracing.record {'--nvtx ' if trace.nvtx else ''}-- {command}",
        machine=table_machine(machine),
        versions=versions(machine),
        date=time.strftime("%Y-%m-%d", time.gmtime(trace.started)),
        state=trace.state,
        caution=f"Not whole: {problems}." if problems else "A whole trace: nothing was dropped or cut.",
    )
    rows = tuple(BudgetRow(row.stage, row.median_ns, row.p95_ns, float(f"{row.share:.6g}")) for row in review.budget)
    return BudgetTable(origin, review.requests.whole, rows)


def without_paths(text: str) -> str:
    """The text with paths of this machine cut to their last name."""
    return FOLDERS.sub("", text)
