"""What the time of an engine goes into: that of its steps, of its processes, of its workers and devices."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from tracing.breakdown.stepkinds import busy_pieces
from tracing.events.file import EventFile
from tracing.timeline.intervals import Pieces, length
from tracing.timeline.spans import Timeline, assembled, on_device
from tracing.timeline.steps.anatomy import anatomy
from tracing.timeline.steps.phases import PHASES, title
from tracing.timeline.steps.workers import busy

MOST_STAGES = 10
LAST = 19  # the lowest priority
MOST_SHARE = 0.01  # of a processor that the latest use may take
LEAST_S = 5.0  # from one to the next


@dataclass(frozen=True)
class TimeUse:
    """Shares of the time of a window; what no worker or device tells is None."""

    phases: dict[str, float]  # of a step's length, each a share of 1
    stages: dict[str, float]  # seconds of work a second, over all processes
    worker_busy: float | None  # by the busiest worker; of one that launches on a device it says nothing
    device_busy: float | None  # by the busiest device: at most


class LatestUse:
    """The use of the time as far as it is known, worked out anew in a thread that comes after all others.

    It takes longer than all the rest of a look, so nothing waits for it, and it is begun so seldom that it takes at
    most `MOST_SHARE` of a processor. Where the engine leaves none free, it grows older.
    """

    def __init__(self) -> None:
        self.value = TimeUse({}, {}, None, None)  # nothing yet
        self._due_s = 0.0  # by time.monotonic; infinity while it is worked out
        self._error: Exception | None = None

    @property
    def due(self) -> bool:
        """Whether it may be begun anew; raises what ended it the last time, if anything did."""
        if self._error:
            raise self._error
        return time.monotonic() >= self._due_s

    def begin(self, files: Sequence[EventFile], length_s: float) -> None:
        """Have it worked out for some event files, which are left as they are."""
        self._due_s = float("inf")
        self._thread = threading.Thread(target=self._work_out, args=(files, length_s), name="time use", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait so long at most for what was begun."""
        self._thread.join(seconds)

    def _work_out(self, files: Sequence[EventFile], length_s: float) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LAST)  # of this thread alone
        began_s = time.thread_time()
        try:
            self.value = time_use(files, length_s)
        except Exception as error:
            self._error = error
        least_s = LEAST_S if self.value.phases else 0.0  # before the first step it is asked for at each look
        self._due_s = time.monotonic() + max(least_s, (time.thread_time() - began_s) / MOST_SHARE)


def time_use(files: Sequence[EventFile], length_s: float) -> TimeUse:
    """Work it out; whose requests the time goes to is not asked, so their names are left out."""
    recorded = assembled(Path(), [replace(file, texts={}) for file in files])
    launches, spans = on_device(recorded), recorded.spans
    working = spans[spans["share"] == "work"]
    seconds = (working["end_ns"] - working["start_ns"]).groupby(working["stage"], observed=True).sum() / 1e9
    return TimeUse(
        _phases(anatomy(recorded), launches),
        {str(stage): float(value) / length_s for stage, value in seconds.nlargest(MOST_STAGES).items()},
        None if launches else _busiest(_workers(recorded), length_s),
        _busiest(_devices(recorded), length_s),
    )


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
