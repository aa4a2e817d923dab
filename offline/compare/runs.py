"""A run to be compared: its trials, and each arm by the settings that are to be alike."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

from offline.differences.observations import CELL_AXES, Levels
from offline.records.run import RunRecord, read_run
from offline.spec.grid import Arm
from offline.spec.passes import passes
from offline.table.frames import planned_arms, read
from probes.console import counted
from probes.errors import usage_error
from probes.machine import differences

# The machine's fields that an axis declares together with the one that it names.
TOGETHER: dict[str, tuple[str, ...]] = {
    "vllm": ("vllm", "vllm_distribution", "torch"),
    "machine": ("machine_id", "cpu_model", "cores_logical", "cores_usable", "memory_bytes", "gpus"),
}

# Of a run that does not hold all that was planned, by its state.
UNFINISHED = {
    "interrupted": "was interrupted",
    "running": "was killed, or is still being measured",
    "incomplete": "lacks arms that failed",
}


@dataclass(frozen=True)
class ComparedRun:
    """One run; its trials have the columns `arm_key` and `key`: settings of arm and cell without the declared axes."""

    name: str
    record: RunRecord
    trials: pd.DataFrame
    labels: dict[str, str]  # of a cell, by its key
    arms: dict[str, str]  # the arm's key, by the cell's
    unfinished: str = ""  # how much of its plan it measured, in a sentence, where it did not come to its end


def compared_run(folder: Path, axes: Collection[str]) -> ComparedRun:
    """Read a run's folder; refused where two of its arms or cells differ in nothing but a declared axis."""
    record, trials = read_run(folder), read(folder).trials
    if trials.empty:
        raise usage_error(f"{folder} has no trial; continue it with python -m offline.sweep --resume {folder}")
    arms = {name: _without(arm.settings, axes) for name, arm in record.arms.items()}
    cells = [_without({axis: row[axis] for axis in CELL_AXES}, axes) for _, row in trials.iterrows()]
    trials = trials.assign(arm_key=trials["arm"].map(arms))
    trials = trials.assign(key=trials["arm_key"] + " " + pd.Series(cells, index=trials.index))
    if trials.groupby("key")["cell"].nunique().max() > 1:
        raise usage_error(f"{folder} varies {' and '.join(axes)} itself: compare runs with one value of it each")
    of_cell = dict(zip(trials["key"], trials["arm_key"], strict=True))
    unfinished = _unfinished(record, list(planned_arms(folder).values()), trials)
    return ComparedRun(record.id, record, trials, _labels(trials, record, axes), of_cell, unfinished)


def _unfinished(record: RunRecord, grid: Sequence[Arm], trials: pd.DataFrame) -> str:
    """`NAME was interrupted: 1 of 2 starts, 4 of 8 trials.`; empty for a run that is complete."""
    if record.state not in UNFINISHED:
        return ""
    every = passes(record.spec, grid, record.alive)
    planned = (sum(len(each.arms) for each in every), record.spec.repeats * sum(len(each.cells()) for each in every))
    # By the number of the pass: the two halves of a start that was continued are one start of the plan.
    starts = set(zip(trials["arm"], trials["trial"] // record.spec.repeats, strict=True))
    counts = zip((len(starts), len(trials)), planned, ("start", "trial"), strict=True)
    least = "at least " if record.effort else ""  # which adds starts to its plan
    words = ", ".join(f"{measured} of {least}{counted(of, noun)}" for measured, of, noun in counts)
    return f"{record.id} {UNFINISHED[record.state]}: {words}."


def _without(levels: Levels, axes: Collection[str]) -> str:
    others = {name: value for name, value in levels.items() if name not in axes}
    return json.dumps(others, sort_keys=True, default=str)


def _labels(trials: pd.DataFrame, record: RunRecord, axes: Collection[str]) -> dict[str, str]:
    """`block_size=32 prefix_caching=on batch_size=4`: an arm's name, and the axes in which the run's cells vary."""
    varied = [axis for axis in CELL_AXES if axis not in axes and trials[axis].nunique() > 1]
    labels = {}
    for _, row in trials.drop_duplicates("key").iterrows():
        arm = [word for word in record.arms[row["arm"]].name.split() if word.partition("=")[0] not in axes]
        labels[row["key"]] = " ".join([*arm, *(f"{axis}={row[axis]}" for axis in varied)])
    return labels


def check_axes(axes: Collection[str], records: Collection[RunRecord]) -> None:
    """A usage error for a declared axis that none of the runs has: a typing error would declare nothing."""
    known = {*CELL_AXES, *TOGETHER, "model", "trace"}
    for record in records:
        known |= record.machine.as_dict().keys()
        known.update(*(arm.settings for arm in record.arms.values()))
    for axis in axes:
        if axis not in known:
            near = "".join(f"; did you mean {name!r}?" for name in get_close_matches(axis, sorted(known), 1))
            raise usage_error(f"--axis {axis}: none of the runs has a setting or a field of that name{near}")


def unlikeness(a: RunRecord, b: RunRecord, axes: Collection[str]) -> list[str]:
    """What keeps two runs from being compared: machine, software and model, where no axis declares them."""
    declared = {field for axis in axes for field in TOGETHER.get(axis, (axis,))}
    unequal = differences(a.machine.as_dict(), b.machine.as_dict())
    unlike = [words for words in unequal if words.partition(":")[0] not in declared]
    if "model" not in axes and a.model_mark != b.model_mark:
        unlike.append(f"model: {a.model_mark} and {b.model_mark}")
    if "trace" not in axes and a.spec.trace != b.spec.trace:
        unlike.append("trace: the recorder's hooks are in place in one of the runs")
    return unlike
