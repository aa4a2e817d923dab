"""The events of torch traces added up as they come: sums by stage, name and step, and the devices' work.

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

from tracing.timeline.innermost import Places
from tracing.timeline.intervals import Ints
from tracing.timeline.nesting import Nesting
from tracing.torchsums import trace
from tracing.torchsums.devicework import UNLAUNCHED, DeviceWork, Launch
from tracing.torchsums.trace import Event

CHUNK_EVENTS = 50_000
MOST_ROWS = 200_000  # partial sums that wait to be added up
# More of them than this are in no file whose launches and kernels stand near each other, and memory has to end.
MOST_LAUNCHES = 1_000_000
MOST_EARLY = 100_000
BY_NAME = ["kind", "name", "stage"]
BY_STEP = ["kind", "stage", "step"]
COUNTED = ["operator", "kernel", "copy"]


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
class Reader:
    """Adds up the events of files, some at a time; where `step` is given, names of that step only."""

    places: Places
    work: DeviceWork
    step: int | None = None
    numbers: dict[str, int] = field(default_factory=dict)  # of names
    names: _Sums = field(default_factory=lambda: _Sums(BY_NAME))
    steps: _Sums = field(default_factory=lambda: _Sums(BY_STEP))
    launched: dict[int, Launch] = field(default_factory=dict)  # by correlation; of one file
    early: list[tuple[Event, int]] = field(default_factory=list)  # kernels whose launch has not come yet
    threads: set[tuple[int, int]] = field(default_factory=set)  # those with operators
    launches: int = 0
    name: str = ""  # of the file

    def file(self, path: Path, ahead_ns: int) -> None:
        """Add a file's events, those before a fault too."""
        self.name = path.name
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
            self.launched.clear()

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
        for (event, _), stage, step in zip(rows, stages.tolist(), steps.tolist(), strict=True):
            if event.correlation:
                self.launched[event.correlation] = Launch(stage, step, event.pid, event.start_ns)
        for correlation in list(islice(self.launched, max(len(self.launched) - MOST_LAUNCHES, 0))):
            del self.launched[correlation]

    def _device(self, rows: list[tuple[Event, int]]) -> None:
        launches = [self.launched.get(event.correlation, UNLAUNCHED) for event, _ in rows]
        places = np.array([launch[:2] for launch in launches], dtype=np.int64)
        self._sum(rows, *places.reshape(-1, 2).T)
        kept = [place for place, launch in enumerate(launches) if self.step in (None, launch.step)]
        self.work.add(self.name, [rows[place][0] for place in kept], [launches[place] for place in kept])

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
