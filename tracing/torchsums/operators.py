"""Operators and kernels of torch traces, summed per stage and step of the recorder's spans.

An operator belongs to the innermost span of its own thread in which it began, a kernel or copy to that of its launch.
An operator counts with its own time: what operators inside it took is theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from probes.errors import EnginescopeError
from tracing.breakdown.otherwatchers import LargestOperator, OperatorStage, OperatorSummary
from tracing.timeline.innermost import OUTSIDE, Places
from tracing.timeline.intervals import Ints
from tracing.timeline.nesting import Nesting
from tracing.timeline.spans import Timeline
from tracing.torchsums import trace
from tracing.torchsums.trace import Event

CHUNK_EVENTS = 50_000
MOST_ROWS = 200_000  # partial sums that wait to be added up
# More of them than this are in no file whose launches and kernels stand near each other, and memory has to end.
MOST_LAUNCHES = 1_000_000
MOST_EARLY = 100_000
BY_NAME = ["kind", "name", "stage"]
BY_STEP = ["kind", "stage", "step"]
COUNTED = ["operator", "kernel", "copy"]
SHOWN = 20


@dataclass
class Operators:
    """`names` has a row a kind, name and stage, `steps` one a kind, stage and step (-1 for none): `count` and `own_ns`.

    `spent_ns` is, by stage, the time in spans of the steps and threads that have operators.
    """

    names: pd.DataFrame
    steps: pd.DataFrame
    spent_ns: dict[str, int]
    files: list[str]
    problems: list[str]
    uncertainty_ns: int
    launches: int  # calls that started something on a device: only counted, since their time is their operators'

    def about(self) -> str:
        """What was read, in one line."""
        counts = self.names.groupby("kind", observed=True)["count"].sum()
        read = {"operator": 0, "launch": self.launches, "kernel": 0, "copy": 0} | counts.to_dict()
        plurals = {"launch": "launches", "copy": "copies"}
        parts = [f"{n:,} {kind if n == 1 else plurals.get(kind, kind + 's')}" for kind, n in read.items()]
        return f"{', '.join(parts)} of {len(self.files)} file{'s' * (len(self.files) != 1)}"


@dataclass
class _Own:
    """An open operator, and its time without that of the operators that began inside it so far."""

    event: Event
    ns: int


def nested(events: Iterable[Event]) -> Iterator[tuple[Event, int]]:
    """Each event with its own nanoseconds: an operator's without those of operators that began inside it.

    A thread's operators come by start, as torch writes them; one is given out when it is known to be over.
    """
    threads: dict[tuple[int, int], Nesting[_Own]] = {}
    for event in events:
        if event.kind != "operator":
            yield event, event.end_ns - event.start_ns
            continue
        nesting = threads.setdefault((event.pid, event.thread), Nesting())
        for _, over in nesting.begin(event.start_ns, event.end_ns, _Own(event, event.end_ns - event.start_ns)):
            yield over.event, over.ns
        if len(nesting.open) > 1:
            nesting.open[-2][1].ns -= nesting.open[-1][0] - event.start_ns
    for nesting in threads.values():
        for _, own in nesting.close():
            yield own.event, own.ns


@dataclass
class _Sums:
    """Sums by some keys, added up now and then, so that memory grows with what is told apart and not with events."""

    keys: list[str]
    parts: list[pd.DataFrame] = field(default_factory=list)
    rows: int = 0

    def add(self, frame: pd.DataFrame) -> None:
        self.parts.append(self._sum(frame))
        self.rows += len(self.parts[-1])
        if self.rows > MOST_ROWS:
            self.parts = [self.total()]
            self.rows = 0

    def total(self) -> pd.DataFrame:
        if not self.parts:
            return pd.DataFrame({key: [] for key in (*self.keys, "count", "own_ns")})
        return self._sum(pd.concat(self.parts))

    def _sum(self, frame: pd.DataFrame) -> pd.DataFrame:
        sums = frame.groupby(self.keys, sort=False, observed=True)[["count", "own_ns"]].sum()
        return sums.reset_index()


@dataclass
class _Reader:
    """Adds up the events of files, some at a time; where `step` is given, names of that step only."""

    places: Places
    step: int | None = None
    numbers: dict[str, int] = field(default_factory=dict)  # of names
    names: _Sums = field(default_factory=lambda: _Sums(BY_NAME))
    steps: _Sums = field(default_factory=lambda: _Sums(BY_STEP))
    launched: dict[int, tuple[int, int]] = field(default_factory=dict)  # correlation -> stage, step; of one file
    early: list[tuple[Event, int]] = field(default_factory=list)  # kernels whose launch has not come yet
    threads: set[tuple[int, int]] = field(default_factory=set)  # those with operators
    launches: int = 0

    def file(self, path: Path, ahead_ns: int) -> None:
        """Add a file's events, those before a fault too."""
        self.launched.clear()
        chunk: list[tuple[Event, int]] = []
        try:
            for each in nested(trace.events(path, ahead_ns)):
                chunk.append(each)
                if len(chunk) == CHUNK_EVENTS:
                    self._add(chunk)
                    chunk = []
        finally:
            self._add(chunk)
            self._device(self.early)
            self.early = []

    def totals(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The sums by name and by step, names and stages as texts."""
        names, steps = self.names.total(), self.steps.total()
        for frame in (names, steps):
            codes = frame["stage"].astype(np.int64)
            frame["stage"] = pd.Categorical.from_codes(codes, categories=self.places.stages)
        names["name"] = pd.Categorical.from_codes(names["name"].astype(np.int64), categories=list(self.numbers))
        return names, steps

    def _add(self, chunk: list[tuple[Event, int]]) -> None:
        on_cpu: dict[tuple[int, int], list[tuple[Event, int]]] = {}
        self.launches += sum(event.kind == "launch" for event, _ in chunk)
        on_device = []
        for each in chunk:
            if each[0].kind in ("operator", "launch"):
                on_cpu.setdefault((each[0].pid, each[0].thread), []).append(each)
            else:
                on_device.append(each)
        self.threads |= set(on_cpu)
        for (pid, thread), rows in on_cpu.items():
            times = np.array([event.start_ns for event, _ in rows], dtype=np.int64)
            stages, steps = self.places.of(pid, thread, times)
            self._sum(rows, stages, steps)
            self._launches(rows, stages, steps)
        known = [each for each in on_device if each[0].correlation in self.launched]
        self.early += [each for each in on_device if each[0].correlation not in self.launched]
        self._device(known)
        if len(self.early) > MOST_EARLY:
            self._device(self.early)
            self.early = []

    def _launches(self, rows: list[tuple[Event, int]], stages: Ints, steps: Ints) -> None:
        last = (0, -1)
        for (event, _), stage, step in zip(rows, stages.tolist(), steps.tolist(), strict=True):
            if event.correlation:
                last = last if last == (stage, step) else (stage, step)  # one object for many launches
                self.launched[event.correlation] = last
        for correlation in list(islice(self.launched, max(len(self.launched) - MOST_LAUNCHES, 0))):
            del self.launched[correlation]

    def _device(self, rows: list[tuple[Event, int]]) -> None:
        places = np.array([self.launched.get(e.correlation, (0, -1)) for e, _ in rows], dtype=np.int64)
        self._sum(rows, *places.reshape(-1, 2).T)

    def _sum(self, rows: list[tuple[Event, int]], stages: Ints, steps: Ints) -> None:
        work = [place for place, (event, _) in enumerate(rows) if event.kind != "launch"]
        if not work:
            return
        chosen = [rows[place] for place in work]
        frame = pd.DataFrame(
            {
                "kind": pd.Categorical([e.kind for e, _ in chosen], categories=COUNTED),
                "name": np.array([self.numbers.setdefault(e.name, len(self.numbers)) for e, _ in chosen], np.int32),
                "stage": stages[work].astype(np.int16),
                "step": steps[work],
                "count": np.ones(len(work), np.int64),
                "own_ns": np.array([own_ns for _, own_ns in chosen], np.int64),
            }
        )
        if self.step is not None:
            frame = frame[frame["step"] == self.step]
        self.names.add(frame)
        self.steps.add(frame)


def read(timeline: Timeline, step: int | None = None) -> Operators | None:
    """The sums over all torch traces of a trace folder, of all steps or of one; None where there are no traces."""
    paths = trace.paths(timeline.folder)
    if not paths:
        return None
    at, problems = trace.clock(timeline), []
    reader = _Reader(Places(timeline), step)
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
    uncertainty_ns = at.uncertainty_ns if at else 0
    return Operators(names, steps, spent, [path.name for path in paths], problems, uncertainty_ns, reader.launches)


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
