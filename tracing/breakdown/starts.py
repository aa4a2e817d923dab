"""What an engine's start was spent on: every nanosecond from the making of its process to the end of its last phase.

A front end waits for its core, and that for its workers, so that time goes to the innermost phase of the process that
is furthest down: the worker that was ready last, else the core, else the front end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from probes.columns import column
from tracing.events.processfile import ProcessRecord
from tracing.sites.site import Role
from tracing.sites.starting import START_SITES
from tracing.timeline.spans import Timeline
from tracing.timeline.starting import IMPORT, ProcessPhase, phases

OTHER = "other"  # of a process, between its phases
PLACES = {site.name: (site.role, site.stage) for site in START_SITES}


@dataclass(frozen=True)
class StartPart:
    """A row of `starts.parts`, in the order in which they began."""

    role: str = field(metadata=column("whose phase it is"))
    stage: str = field(metadata=column("the phase; other: between phases"))
    ns: int = field(metadata=column("how much of the start went to it", "ns"))
    share: float = field(metadata=column("of the start", "1"))


@dataclass(frozen=True)
class EngineStart:
    """A row of `starts`: one engine's."""

    core_pid: int = field(metadata=column("the core's process"))
    workers: int = field(metadata=column("how many there are", "processes"))
    start_ns: int = field(
        metadata=column(
            "when the front end's process was made; of its later engines, when their configuration began",
            "ns of CLOCK_MONOTONIC",
        )
    )
    ns: int = field(metadata=column("from then to the end of the last phase", "ns"))
    parts: tuple[StartPart, ...] = field(metadata=column("what it was spent on; they add up to `ns`"))
    first_step_ns: int | None = field(
        metadata=column("its first step with tokens; null: none, or its process ran several engines", "ns")
    )


@dataclass(frozen=True)
class Layer:
    """One interval of a start: the later of two layers counts."""

    role: str
    stage: str
    start_ns: int
    end_ns: int


def starts(timeline: Timeline) -> tuple[EngineStart, ...]:
    """The starts of all engines whose cores are in the trace, by time; none where it was recorded without phases."""
    passed = phases(timeline)
    processes = {process.pid: process for process in timeline.processes}
    cores = {phase.pid: None for phase in passed if phase.name == "executor" and phase.pid in processes}
    of_cores = [list(_of_core(core, processes, passed)) for core in cores]
    return tuple(
        replace(start, first_step_ns=_first_step(timeline, start) if len(of_core) == 1 else None)
        for of_core in of_cores
        for start in of_core
    )


def _first_step(timeline: Timeline, start: EngineStart) -> int | None:
    """How long the first step with tokens took that an engine ran once it was ready; None where it ran none."""
    spans = timeline.spans
    steps = spans[spans["site"].isin(("scheduler.schedule", "scheduler.update")) & (spans["pid"] == start.core_pid)]
    steps = steps[steps["start_ns"] >= start.start_ns + start.ns]
    begun = steps[(steps["site"] == "scheduler.schedule") & (steps["value"] > 0)].head(1)
    ended = steps[(steps["site"] == "scheduler.update") & steps["step"].isin(begun["step"])].head(1)
    return int(ended["end_ns"].iloc[0] - begun["start_ns"].iloc[0]) if len(ended) else None


def _of_core(core: int, processes: dict[int, ProcessRecord], passed: list[ProcessPhase]) -> Iterator[EngineStart]:
    """One start; of a core inside the front end's process one for each engine that it made."""
    parent = processes[core].parent
    front_end = parent if parent in processes and "core" in processes[core].serves else core
    workers = [pid for pid, process in processes.items() if process.parent == core and pid != front_end]
    begins = [phase.start_ns for phase in passed if phase.pid == front_end and phase.name == "configuration"]
    first = next((phase for phase in passed if phase.pid == front_end and phase.name == IMPORT), None)
    begins[:1] = [first.start_ns] if first else begins[:1]
    executors = [phase.start_ns for phase in passed if phase.pid == core and phase.name == "executor"]
    for begin, end in pairwise([*begins, float("inf")]):
        if any(begin <= executor < end for executor in executors):
            own = [phase for phase in passed if begin <= phase.start_ns < end]
            yield _start(core, front_end, workers, own)


def _start(core: int, front_end: int, workers: list[int], passed: list[ProcessPhase]) -> EngineStart:
    of = {pid: [phase for phase in passed if phase.pid == pid] for pid in (front_end, core, *workers)}
    last = max(workers, key=lambda pid: max((phase.end_ns for phase in of[pid]), default=0), default=core)
    chain = list(dict.fromkeys((front_end, core, last)))
    begin, end = of[front_end][0].start_ns, max(phase.end_ns for pid in chain for phase in of[pid])
    roles: dict[int, Role] = {last: "worker", core: "core", front_end: "front end"}
    layers = [layer for pid in chain for layer in _layers(of[pid], roles[pid], end)]
    parts = painted(layers, begin, end)
    total = end - begin
    rows = tuple(StartPart(role, stage, ns, ns / total) for (role, stage), ns in parts.items())
    return EngineStart(core, max(len(workers), 1), begin, total, rows, None)


def _layers(passed: Sequence[ProcessPhase], role: Role, end_ns: int) -> Iterator[Layer]:
    """A process's own time, then its phases, inner ones later. A worker's own ends with its weights: then it waits."""
    loaded = [phase.end_ns for phase in passed if phase.name == "load_weights" and role == "worker"]
    yield from (Layer(role, OTHER, passed[0].start_ns, min([end_ns, *loaded])) for _ in passed[:1])
    for phase in passed:
        place = (role, IMPORT) if phase.name == IMPORT else PLACES[phase.name]
        yield Layer(*place, phase.start_ns, phase.end_ns)


def painted(layers: Sequence[Layer], start_ns: int, end_ns: int) -> dict[tuple[str, str], int]:
    """The time of each role and stage between two moments: where layers overlap, the last of them has it."""
    times: dict[tuple[str, str], int] = {}
    bounds = {start_ns, end_ns, *(time for layer in layers for time in (layer.start_ns, layer.end_ns))}
    for begin, end in pairwise(sorted(time for time in bounds if start_ns <= time <= end_ns)):
        top = next((layer for layer in reversed(layers) if layer.start_ns <= begin and end <= layer.end_ns), None)
        place = (top.role, top.stage) if top else ("", OTHER)
        times[place] = times.get(place, 0) + end - begin
    return times
