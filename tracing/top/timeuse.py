"""What the time of an engine goes into: that of its requests, steps, processes, workers and devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tracing.breakdown.requests.budget import budgets
from tracing.breakdown.stepkinds import busy_pieces
from tracing.events.file import EventFile
from tracing.timeline.index import Index
from tracing.timeline.intervals import Pieces, length
from tracing.timeline.requests import flows
from tracing.timeline.spans import Timeline, assembled, on_device
from tracing.timeline.steps.anatomy import anatomy
from tracing.timeline.steps.phases import PHASES, title
from tracing.timeline.steps.workers import busy

MOST_STAGES = 10


@dataclass(frozen=True)
class TimeUse:
    """Shares of the time of a window; what no worker or device tells is None."""

    requests: dict[str, float]  # of the time of the requests that were there, each a share of 1
    mostly: dict[str, str]  # by internal id, what most of a request's time went into
    phases: dict[str, float]  # of a step's length, each a share of 1
    stages: dict[str, float]  # seconds of work a second, over all processes
    worker_busy: float | None  # by the busiest worker; of one that launches on a device it says nothing
    device_busy: float | None  # by the busiest device: at most


def time_use(files: Sequence[EventFile], length_s: float) -> TimeUse:
    """Work it out; a request that began before the records, or ends after them, has its time in them."""
    recorded = assembled(Path(), list(files))
    launches, spans = on_device(recorded), recorded.spans
    working = spans[spans["share"] == "work"]
    seconds = (working["end_ns"] - working["start_ns"]).groupby(working["stage"], observed=True).sum() / 1e9
    parts = _parts(recorded)
    return TimeUse(
        _largest(parts.sum() / max(int(parts.to_numpy().sum()), 1)),
        {str(request): str(part) for request, part in parts.idxmax(axis=1).items()},
        _phases(anatomy(recorded), launches),
        _largest(seconds / length_s),
        None if launches else _busiest(_workers(recorded), length_s),
        _busiest(_devices(recorded), length_s),
    )


def _parts(recorded: Timeline) -> pd.DataFrame:
    """Nanoseconds by request and part."""
    index = Index(recorded)
    return budgets(index, [flow for flow in flows(index) if flow.latency_ns > 0])


def _largest(values: pd.Series) -> dict[str, float]:
    return {str(name): float(value) for name, value in values.nlargest(MOST_STAGES).items() if value > 0}


def _phases(steps: pd.DataFrame, launches: bool) -> dict[str, float]:
    """Each phase's share of the steps' time, of those that have one."""
    whole_ns = int((steps["end_ns"] - steps["start_ns"]).sum())
    sums = {title(phase, launches): int(steps[f"{phase}_ns"].sum()) for phase in PHASES}
    return {name: total / whole_ns for name, total in sums.items() if total and whole_ns}


def _busiest(pieces: list[Pieces], length_s: float) -> float | None:
    """The share of the time that the longest of some unions of intervals takes; None where there is none."""
    return min(1.0, max(map(length, pieces)) / 1e9 / length_s) if pieces else None


def _workers(recorded: Timeline) -> list[Pieces]:
    spans = recorded.spans
    return [busy(recorded, pid) for pid in spans["pid"][spans["role"] == "worker"].unique().tolist()]


def _devices(recorded: Timeline) -> list[Pieces]:
    return [busy_pieces(work)[0] for _, work in recorded.device.groupby("pid")]
