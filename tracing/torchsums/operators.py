"""Operators and kernels of torch traces, summed per stage and step of the recorder's spans."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from probes.columns import column
from probes.errors import EnginescopeError
from tracing.breakdown.otherwatchers import LargestOperator, OperatorStage, OperatorSummary
from tracing.timeline.innermost import OUTSIDE, Places
from tracing.timeline.spans import Timeline
from tracing.timeline.steps.workers import core_of
from tracing.torchsums import trace
from tracing.torchsums.devicework import DeviceWork
from tracing.torchsums.reader import COUNTED, Reader

SHOWN = 20


@dataclass(frozen=True)
class StepOperators:
    """A row of `steps`, and of `--csv`: the operators, kernels or copies of one stage in one step."""

    kind: str = field(metadata=column("operator, kernel or copy"))
    stage: str = field(metadata=column("the stage in which they began, a kernel and a copy that of its launch"))
    step: int = field(metadata=column("the engine step; -1: none"))
    count: int = field(metadata=column("how many there were"))
    own_ns: int = field(metadata=column("their own time, without that of operators inside them", "ns"))


@dataclass
class Operators:
    """`names` has a row a kind, name and stage, with `count` and `own_ns`; `steps` has those of `StepOperators`.

    `spent_ns` is, by stage, the time in spans of the steps and threads that have operators.
    """

    names: pd.DataFrame
    steps: pd.DataFrame
    spent_ns: dict[str, int]
    files: list[str]
    problems: list[str]
    uncertainty_ns: int
    launches: int  # calls that started something on a device: only counted, since their time is their operators'
    work: pd.DataFrame  # of `tracing.breakdown.kernels.work`

    def about(self) -> str:
        """What was read, in one line."""
        counts = self.names.groupby("kind", observed=True)["count"].sum()
        read = {"operator": 0, "launch": self.launches, "kernel": 0, "copy": 0} | counts.to_dict()
        plurals = {"launch": "launches", "copy": "copies"}
        parts = [f"{n:,} {kind if n == 1 else plurals.get(kind, kind + 's')}" for kind, n in read.items()]
        return f"{', '.join(parts)} of {len(self.files)} file{'s' * (len(self.files) != 1)}"


def read(timeline: Timeline, step: int | None = None) -> Operators | None:
    """The sums over all torch traces of a trace folder, of all steps or of one; None where there are no traces."""
    paths = trace.paths(timeline.folder)
    if not paths:
        return None
    at, problems = trace.clock(timeline), []
    reader = Reader(Places(timeline), DeviceWork(core_of(timeline)), step)
    for path in paths if at else ():
        try:
            reader.file(path, at.ahead_ns if at else 0)
        except EnginescopeError as error:
            problems.append(str(error))
    names, steps = reader.totals()
    if at is None:
        problems.append("there are torch traces, but no process of the recorder wrote an anchor of its clock")
    elif step is None and not len(names) and not problems:
        problems.append("the torch traces hold no operator and no kernel")
    elif len(names) and (names["stage"] == OUTSIDE).all():
        problems.append("the torch traces lie outside of all spans: of another machine, run or clock")
    numbers = np.unique(steps["step"][steps["step"] >= 0]).astype(np.int64)
    spent = reader.places.spent(reader.threads, numbers)
    uncertainty_ns, work = at.uncertainty_ns if at else 0, reader.work.frame()
    return Operators(
        names, steps, spent, [path.name for path in paths], problems, uncertainty_ns, reader.launches, work
    )


def summary(sums: Operators | None) -> OperatorSummary | None:
    """What the review holds: a row a stage, and the largest of the rows by stage and name over all steps."""
    if sums is None:
        return None
    steps = sums.steps["step"]
    return OperatorSummary(
        files=tuple(sums.files),
        problems=tuple(sums.problems),
        clock_uncertainty_ns=sums.uncertainty_ns,
        steps=int(steps[steps >= 0].nunique()),
        stages=_stages(sums),
        rows=_largest(sums.names),
    )


def _stages(sums: Operators) -> tuple[OperatorStage, ...]:
    by_kind = sums.names.groupby(["stage", "kind"], observed=True)["own_ns"].sum().unstack(fill_value=0)
    rows = (
        OperatorStage(str(stage), sums.spent_ns.get(str(stage)), *(int(row.get(kind, 0)) for kind in COUNTED))
        for stage, row in by_kind.iterrows()
    )
    return tuple(sorted(rows, key=lambda row: -(row.operator_ns + row.kernel_ns + row.copy_ns)))


def _largest(names: pd.DataFrame) -> tuple[LargestOperator, ...]:
    on_cpu = names["kind"] == "operator"
    whole = {where: int(names["own_ns"][on_cpu == where].sum()) for where in (True, False)}
    largest = names.sort_values("own_ns", ascending=False).head(SHOWN)
    return tuple(
        LargestOperator(stage, name, kind, int(count), int(own_ns), int(own_ns) / max(whole[kind == "operator"], 1))
        for kind, name, stage, count, own_ns in largest.itertuples(index=False, name=None)
    )
