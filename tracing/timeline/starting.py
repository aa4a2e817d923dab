"""How the engines of a trace started: the phases that their processes passed, each process's imports first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tracing.events.enginephase import read_phases
from tracing.sites.starting import FILE, START_SITES
from tracing.timeline.nodes import machines
from tracing.timeline.spans import Timeline

IMPORT = "import"  # from the making of a process to the moment at which vLLM loads its plugins


@dataclass(frozen=True)
class ProcessPhase:
    """One phase of one process; times in nanoseconds of CLOCK_MONOTONIC, `name` as in `sites.starting`."""

    pid: int
    name: str
    start_ns: int
    end_ns: int


def phases(timeline: Timeline) -> list[ProcessPhase]:
    """All phases of a trace, by start; none where it was recorded without them, or on several machines.

    The file of phases does not say which machine's process and clock a line is of.
    """
    moved = any(process.clock_uncertainty_ns is not None for process in timeline.processes)
    if not (timeline.folder / FILE).exists() or moved or len(machines(timeline.processes)) > 1:
        return []
    names = {site.name for site in START_SITES}
    passed = [
        ProcessPhase(each.pid, each.phase, each.start_ns, each.end_ns)
        for each in read_phases(timeline.folder)
        if each.phase in names
    ]
    return sorted([*_imports(timeline), *passed], key=lambda phase: phase.start_ns)


def _imports(timeline: Timeline) -> Iterator[ProcessPhase]:
    for process in timeline.processes:
        if process.created_ns is not None:
            yield ProcessPhase(process.pid, IMPORT, process.created_ns, process.started_ns)
