"""The columns of steps that were recorded, and a look at whether they add up."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tracing import timeline
from tracing.timeline.steps.anatomy import anatomy
from tracing.timeline.steps.phases import PHASES

COLUMNS = [f"{phase}_ns" for phase in PHASES]


def divided(folder: Path) -> pd.DataFrame:
    """The steps of a folder, after a look at whether their columns add up."""
    steps = anatomy(timeline.read(folder))
    lengths = steps["end_ns"] - steps["start_ns"]
    assert (steps[[*COLUMNS, "unexplained_ns"]].sum(axis=1) == lengths).all()
    assert (steps[[*COLUMNS, "unexplained_ns"]] >= 0).all(axis=None)
    return steps


def phases_of(steps: pd.DataFrame, step: int) -> dict[str, int]:
    row = steps.iloc[step]
    return {name: int(row[f"{name}_ns"]) for name in (*PHASES, "unexplained") if row[f"{name}_ns"]}
