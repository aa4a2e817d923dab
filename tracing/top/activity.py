"""What an engine did in a window of time: rates, the parts of its steps, its load, and the requests that run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from probes.devices.sampling import SampledDevice
from tracing.breakdown.stepkinds import busy_pieces
from tracing.timeline import Timeline
from tracing.timeline.intervals import Pieces, length
from tracing.timeline.spans import on_device
from tracing.timeline.steps.anatomy import anatomy
from tracing.timeline.steps.phases import PHASES, title
from tracing.timeline.steps.workers import busy

MOST_STAGES, MOST_RUNNING = 10, 8


@dataclass(frozen=True)
class RunningRequest:
    """A request that was scheduled in the last step and has not ended: its internal id, for how long it has been seen
    to run, and its last stage."""

    request: str
    seen_s: float
    stage: str


@dataclass(frozen=True)
class EngineActivity:
    """The figures of a window; those that no step or worker tells are None."""

    requests_per_s: float
    steps_per_s: float
    tokens_per_s: float
    step_ms: float | None
    phases: dict[str, float]  # of a step's length, each a share of 1
    stages: dict[str, float]  # seconds of work a second, over all processes
    worker_busy: float | None  # of the time, by the busiest worker; of one that launches on a device it says nothing
    device_busy: float | None  # of the time, by the busiest device: at most
    running: int
    waiting: int
    preempted: int
    kv_used: float | None  # of the KV cache's blocks
    slowest: tuple[RunningRequest, ...]
    cards: tuple[SampledDevice, ...]  # all of this machine, as their drivers describe the last second


def activity(
    recorded: Timeline,
    length_s: float,
    first_seen_s: Mapping[str, float],
    now_s: float,
    cards: Sequence[SampledDevice] = (),
) -> EngineActivity:
    """Work the figures out; `first_seen_s` has when each request was first seen, on the clock of `now_s`."""
    spans, steps = recorded.spans, anatomy(recorded)
    last = recorded.steps.sort_values("step").groupby("pid").tail(1)
    blocks = int(last["kv_blocks"].sum())
    working = spans[spans["share"] == "work"]
    seconds = (working["end_ns"] - working["start_ns"]).groupby(working["stage"], observed=True).sum() / 1e9
    names, launches = running(recorded), on_device(recorded)
    return EngineActivity(
        requests_per_s=int((spans["site"] == "scheduler.free").sum()) / length_s,
        steps_per_s=int((spans["site"] == "scheduler.update").sum()) / length_s,
        tokens_per_s=int(recorded.batches["tokens"].sum()) / length_s,
        step_ms=float(np.median(steps["end_ns"] - steps["start_ns"])) / 1e6 if len(steps) else None,
        phases=_phases(steps, launches),
        stages={str(stage): float(value) / length_s for stage, value in seconds.nlargest(MOST_STAGES).items()},
        worker_busy=None if launches else _busiest(_workers(recorded), length_s),
        device_busy=_busiest(_devices(recorded), length_s),
        running=len(names),
        waiting=int(last["waiting"].sum()),
        preempted=int(recorded.steps["preempted"].sum()),
        kv_used=int(last["kv_used_blocks"].sum()) / blocks if blocks else None,
        slowest=_slowest(recorded, names, first_seen_s, now_s),
        cards=tuple(cards),
    )


def running(recorded: Timeline) -> list[str]:
    """The requests in the last step of each core, but for those that ended since."""
    batches, spans = recorded.batches, recorded.spans
    last = batches[batches["step"] == batches.groupby("pid")["step"].transform("max")]
    freed = set(spans["request"][spans["site"] == "scheduler.free"].dropna())
    return [str(name) for name in last["request"].unique() if name not in freed]


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


def _slowest(
    recorded: Timeline, names: list[str], first_seen_s: Mapping[str, float], now_s: float
) -> tuple[RunningRequest, ...]:
    named = recorded.spans[recorded.spans["request"].isin(names)].sort_values("end_ns")
    stages = named.groupby(named["request"].astype(str))["stage"].last()
    oldest = sorted(names, key=lambda name: first_seen_s.get(name, now_s))[:MOST_RUNNING]
    return tuple(
        RunningRequest(name, now_s - first_seen_s.get(name, now_s), str(stages.get(name, "decode"))) for name in oldest
    )
