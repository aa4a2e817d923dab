"""What the time goes into, worked out beside the looks of `tracing.top`."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.tracing.traces import TraceWriter
from tracing.events import file as eventfile
from tracing.events.file import EventFile
from tracing.top import timeuse
from tracing.top.timeuse import LAST, LatestUse, TimeUse

MS = 1_000_000


def a_step(folder: Path) -> list[EventFile]:
    core = TraceWriter(folder, 2, ["core"]).span("scheduler.schedule", 0, 10 * MS, step=0)
    core.batch(0, {"a": 1}).counts(0, {}).span("scheduler.update", 90 * MS, 100 * MS, step=0).close()
    return [eventfile.read(path) for path in folder.glob("events-*.bin")]


def test_it_is_there_after_a_while_and_not_due_again_at_once(tmp_path: Path) -> None:
    use = LatestUse()
    assert use.due and use.value.phases == {}
    use.begin(a_step(tmp_path), 1.0)
    assert not use.due
    use.wait(60.0)
    assert use.value.phases["schedule"] == pytest.approx(0.1)
    assert not use.due


def test_it_takes_at_most_a_hundredth_of_a_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeuse, "LEAST_S", 0.0)
    times = iter([100.0, 100.2])
    monkeypatch.setattr(timeuse.time, "thread_time", lambda: next(times))
    clock = [1000.0]
    monkeypatch.setattr(timeuse.time, "monotonic", lambda: clock[0])
    use = LatestUse()
    use.begin(a_step(tmp_path), 1.0)
    use.wait(60.0)
    clock[0] += 19.9
    assert not use.due
    clock[0] += 0.2
    assert use.due


def test_only_its_own_thread_comes_last_and_what_ends_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def fail(files: Sequence[EventFile], length_s: float) -> TimeUse:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        raise ValueError("no such stage")

    monkeypatch.setattr(timeuse, "time_use", fail)
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    use = LatestUse()
    use.begin([], 1.0)
    use.wait(60.0)
    with pytest.raises(ValueError, match="no such stage"):
        _ = use.due
    assert seen == [LAST]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before
