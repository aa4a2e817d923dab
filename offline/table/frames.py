"""Tables as DataFrames: a column has the type that its record says, and a number that is not known is missing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple, get_type_hints

import pandas as pd

from offline.differences.run import RunDifferences, run_differences
from offline.limit.columns import LIMIT_FIGURES, LimitColumns, LimitFigures
from offline.limit.figures import Limit, limit
from offline.records.lines import Record, StartRecord, TrialRecord
from offline.records.resolved import Resolved
from offline.records.run import read_run
from offline.records.runfolder import read_records
from offline.spec.grid import VLLM, Arm, arms
from offline.table.answers import AnswerColumns
from offline.table.cards import (
    CARD_FIGURES,
    OF_A_CARD,
    Card,
    CardColumns,
    CardFigures,
    card_figures,
    card_numbers,
    card_row,
)
from offline.table.cells import CellColumns, CheckColumns, Row, StatusColumns, Value, cell_identity, resolved_columns
from offline.table.figures import FIGURES, TrialFigures, measure
from offline.table.starts import StartColumns
from offline.table.statistics import Drift
from probes.rates.rates import Rates

DTYPES = (("int", "Int64"), ("float", "Float64"), ("bool", "boolean"), ("str", "string"))
NUMBERED = re.compile(f"^{OF_A_CARD.format('[0-9]+')}")
TRIAL_KEYS = ("arm", "engine", "group", "round", "cell", "trial", "start_ns")
CLASSES = (
    *(CellColumns, StatusColumns, TrialFigures, LimitFigures, CardFigures, CheckColumns),
    *(Resolved, StartColumns, LimitColumns, AnswerColumns, CardColumns),
)


class RunFrames(NamedTuple):
    """A run's trials, a row each, and its arms, a row an engine start; `arm` and `engine` are in both."""

    trials: pd.DataFrame
    arms: pd.DataFrame


def read(folder: Path | str) -> RunFrames:
    """The trials and arms of a run folder; `EnginescopeError` where it is none or of another schema.

    The columns are those of `columns.md` in the folder, of which a trial has those of one repeat: no intervals.
    """
    path = Path(folder)
    return run_frames(list(planned_arms(path).values()), read_records(path), read_run(path).rates)


def run_frames(grid: Sequence[Arm], records: Sequence[Record], rates: Rates | None = None) -> RunFrames:
    """The trials and arms of a grid's records."""
    by_id, floors = {arm.id: arm for arm in grid}, dict[tuple[str, int], Limit]()
    cells = {arm.cell_id(cell): cell_identity(arm, cell) for arm in grid for cell in arm.cells}
    cards, trials, starts = card_numbers(records), [], []
    for record in records:
        if isinstance(record, TrialRecord):
            identity: Row = {name: getattr(record, name) for name in TRIAL_KEYS}
            expected: Row = {"expected_cached_tokens": record.expected_cached_tokens}
            figures = asdict(measure(record)) | asdict(floors.get((record.arm, record.engine), Limit()).figures(record))
            trials.append({**identity, **cells[record.cell], **figures, **_each_card(record, cards), **expected})
        elif isinstance(record, StartRecord):
            identity = {"arm": record.arm, "engine": record.engine, "name": record.name}
            floor = floors[record.arm, record.engine] = limit(record, rates)
            columns = resolved_columns(by_id[record.arm], record) | asdict(floor.columns())
            starts.append({**identity, **columns})
    return RunFrames(_frame(trials), _frame(starts))


def _each_card(trial: TrialRecord, numbers: Mapping[Card, int]) -> Row:
    columns: Row = {}
    for number, figures in card_figures(trial, numbers).items():
        columns |= card_row(number, asdict(figures))
    return columns


def grid_differences(grid: Sequence[Arm], records: Sequence[Record], drift: Drift | None) -> RunDifferences:
    """The differences that a grid's records can tell."""
    trials, drifted = run_frames(grid, records).trials, drift is not None and not drift.inside
    labels = list(dict.fromkeys(arm.environment for arm in grid))
    if VLLM in trials:  # from the one that was named first to the one after it, whatever they are called
        trials = trials.assign(**{VLLM: pd.Categorical(trials[VLLM], labels, ordered=True)})
    return run_differences(trials, axis_columns(grid), drifted, in_turns=drift is not None and drift.in_turns)


def axis_columns(grid: Sequence[Arm]) -> list[str]:
    """The columns in which the arms of a grid differ."""
    return list(grid[0].levels)


def planned_arms(path: Path) -> dict[str, Arm]:
    """The arms of a run, as it was planned."""
    run = read_run(path)
    names = dict.fromkeys(plan.settings.get("model") for plan in run.arms.values())
    varied = arms(run.spec, *([{"model": name} for name in names] if len(names) > 1 else [{}]))
    axes, by_settings = varied[0].axes, {}
    for identity, plan in run.arms.items():
        cells = next(arm.cells for arm in varied if arm.settings.items() <= plan.settings.items())
        by_settings[identity] = Arm(plan.settings, axes, cells)
    return by_settings


def table_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """The rows of a run's table."""
    return _frame(rows)


def _frame(rows: Sequence[Row]) -> pd.DataFrame:
    names, types = dict.fromkeys(name for row in rows for name in row), _types()
    typed = {name: types.get(NUMBERED.sub("", name)) for name in names}
    return pd.DataFrame({name: _series([row.get(name) for row in rows], typed[name]) for name in names})


def _series(values: Sequence[Value], dtype: str | None) -> pd.Series:
    """A column; one of an engine argument whose values are of several types is text."""
    try:
        return pd.Series(values, dtype=dtype or _inferred(values))
    except (TypeError, ValueError):
        return pd.Series([None if value is None else str(value) for value in values], dtype="string")


def _types() -> dict[str, str]:
    """The dtype of every column whose record says its type; a mean of whole numbers is no whole number."""
    hints = {name: str(hint) for cls in CLASSES for name, hint in get_type_hints(cls).items()}
    types = {name: next(dtype for word, dtype in DTYPES if word in hint) for name, hint in hints.items()}
    for name in (*FIGURES, *LIMIT_FIGURES, *CARD_FIGURES):
        types |= {f"{name}{end}": "Float64" for end in ("", "_lo", "_hi")}
    return types


def _inferred(values: Sequence[Value]) -> str:
    """The dtype of an engine argument's column, whose type is vLLM's; `TypeError` where there are several."""
    kinds = {type(value).__name__ for value in values if value is not None}
    if len(kinds) > 1:
        raise TypeError(kinds)
    return dict(DTYPES)[kinds.pop()] if kinds else "string"
