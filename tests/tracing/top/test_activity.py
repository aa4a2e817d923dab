"""The figures of `tracing.top`, from a second of a synthetic engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from probes.devices.device import Activity
from probes.devices.sampling import SampledDevice
from tests.tracing.stories import NS, stream
from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.events import file as eventfile
from tracing.events.file import EventFile
from tracing.timeline.steps.anatomy import anatomy
from tracing.top.activity import EngineActivity, RunningRequest, activity, running
from tracing.top.screen import figures, line, screen
from tracing.top.timeuse import MOST_STAGES, time_use

MS = 1_000_000


def files_of(folder: Path) -> list[EventFile]:
    return [eventfile.read(path) for path in sorted(folder.glob("events-*.bin"))]


def a_second(folder: Path, first_seen_s: Mapping[str, float], now_s: float) -> EngineActivity:
    files = files_of(folder)
    return activity(files, time_use(files, 1.0), 1.0, first_seen_s, now_s)


def test_a_second_of_two_steps(tmp_path: Path) -> None:
    core = TraceWriter(tmp_path, 2, ["core"])
    worker = TraceWriter(tmp_path, 3, ["worker"], parent=2)
    for step, tokens in enumerate(({"a": 5, "b": 5}, {"b": 1})):
        begin = step * 500 * MS
        core.span("scheduler.schedule", begin, begin + 10 * MS, step=step, value=sum(tokens.values())).batch(
            step, tokens
        )
        core.counts(step, {"decode_requests": len(tokens), "waiting": 3, "kv_used_blocks": 25, "kv_blocks": 100})
        core.span("scheduler.update", begin + 90 * MS, begin + 100 * MS, step=step)
        worker.span("worker.execute", begin + 20 * MS, begin + 80 * MS, step=step)
    core.span("scheduler.free", 95 * MS, 96 * MS, "a", step=0)
    for writer in (core, worker):
        writer.close()
    assert running(files_of(tmp_path)) == ["b"]
    seen = a_second(tmp_path, {"b": 70.0}, 100.0)
    assert (seen.requests_per_s, seen.steps_per_s, seen.tokens_per_s, seen.step_ms) == (1.0, 2.0, 11.0, 100.0)
    assert (seen.running, seen.waiting, seen.kv_used) == (1, 3, 0.25)
    assert seen.use.worker_busy == pytest.approx(0.12)
    assert seen.use.phases["execute"] == pytest.approx(0.6)
    assert seen.slowest == (RunningRequest("b", 30.0, "decode"),)
    assert line(seen) == (
        "1.0 requests/s, 2.0 steps/s, 11 tokens/s, step 100.00 ms, worker busy 12%, "
        "running 1, waiting 3, preempted 0, KV 25%"
    )


def test_on_a_device_a_launch_is_called_one_and_the_workers_time_says_nothing(tmp_path: Path) -> None:
    core = TraceWriter(tmp_path, 2, ["core", "worker"]).span("scheduler.schedule", 0, 100 * MS, step=0)
    core.batch(0, {"a": 1}).counts(0, {}).span("runner.forward", 100 * MS, 150 * MS, step=0)
    core.device(0, 110 * MS, 700 * MS).device(0, 690 * MS, 800 * MS)
    core.span("scheduler.update", 900 * MS, 1000 * MS, step=0).close(device="cuda")
    seen = a_second(tmp_path, {}, 1.0)
    assert (seen.use.worker_busy, seen.use.device_busy) == (None, 0.69)
    assert seen.use.phases["model (launch)"] == 0.05 and "model" not in seen.use.phases
    assert "ms, device busy 69% at most, running 1" in line(seen)


def test_cards_stand_below_the_figures_and_behind_a_line(tmp_path: Path) -> None:
    TraceWriter(tmp_path, 2, ["core"]).span("scheduler.update", 0, 10, step=0).close()
    cards = [SampledDevice(0, "H100", 1, Activity(87.0, 412.3, 1980.0), 0.5)]
    files = files_of(tmp_path)
    seen = activity(files, time_use(files, 1.0), 1.0, {}, 1.0, cards)
    card = "GPU 0  H100: 87 % busy, 412 W, 1,980 MHz, 50.0 % of its memory (mean of 1 sample)"
    assert line(seen) == f"{figures(seen)}  {card}"
    out = Console(record=True, width=120, file=StringIO())
    out.print(screen("a server", seen))
    assert out.export_text().splitlines()[:3] == ["a server", figures(seen), card]


def test_who_ended_in_the_last_step_runs_no_more(tmp_path: Path) -> None:
    core = TraceWriter(tmp_path, 2, ["core"]).span("scheduler.schedule", 0, 10, step=0).batch(0, {"a": 1, "b": 1})
    core.span("scheduler.free", 20, 21, "a", step=0).close()
    assert running(files_of(tmp_path)) == ["b"]


def test_a_step_that_schedules_nothing_ends_no_request(tmp_path: Path) -> None:
    """With a batch queue a step may find all that run in flight already."""
    TraceWriter(tmp_path, 2, ["core"]).batch(0, {"a": 1}).batch(1, {}).close()
    assert running(files_of(tmp_path)) == ["a"]


def test_the_figures_are_those_of_the_timeline(tmp_path: Path) -> None:
    """They are counted out of the records, without the frames that a review needs."""
    stream(tmp_path, NS, steps=5, ends=False)
    recorded, seen = timeline.read(tmp_path), a_second(tmp_path, {"a-1": 0.0}, 3.0)
    steps, spans = anatomy(recorded), recorded.spans
    assert seen.step_ms == float((steps["end_ns"] - steps["start_ns"]).median()) / 1e6
    assert (seen.steps_per_s, seen.tokens_per_s) == (len(steps), recorded.batches["tokens"].sum())
    [slowest] = seen.slowest
    assert slowest.stage == spans[spans["request"] == "a-1"].sort_values("end_ns")["stage"].iloc[-1]


def test_where_the_time_of_requests_goes_though_they_began_before_and_have_not_ended(tmp_path: Path) -> None:
    stream(tmp_path, NS, steps=5, ends=False)
    middle_ns = int(np.median(np.concatenate([file.spans["start"] for file in files_of(tmp_path)])))
    later = [replace(file, spans=file.spans[file.spans["start"] >= middle_ns]) for file in files_of(tmp_path)]
    use = time_use(later, 1.0)
    assert len(use.requests) == MOST_STAGES and "unexplained" not in use.requests
    assert 0.5 < sum(use.requests.values()) <= 1.0
    [(request, part)] = use.mostly.items()
    assert request == "a-1" and part == max(use.requests, key=lambda name: use.requests[name])


def test_a_time_that_is_shorter_than_a_step_has_a_use_too(tmp_path: Path) -> None:
    """Whatever lies in it: of a step the front end's part alone, say."""
    stream(tmp_path, NS, steps=5, ends=False)
    files = files_of(tmp_path)
    starts = np.unique(np.concatenate([file.spans["start"] for file in files]))
    for first in range(0, len(starts) - 6, 2):
        begin_ns, end_ns = starts[first], starts[first + 6]
        kept = [(file.spans["start"] >= begin_ns) & (file.spans["start"] < end_ns) for file in files]
        window = [replace(file, spans=file.spans[inside]) for file, inside in zip(files, kept, strict=True)]
        assert 0 <= sum(time_use(window, 1.0).requests.values()) <= 1.000001


def test_what_most_of_a_requests_time_went_into_stands_beside_it(tmp_path: Path) -> None:
    stream(tmp_path, NS, steps=5, ends=False)
    seen = a_second(tmp_path, {"a-1": 0.0}, 3.0)
    assert seen.use.mostly["a-1"] in shown(seen)
    later = replace(seen, use=replace(seen.use, mostly={}))
    assert "not known yet" in shown(later)


def shown(seen: EngineActivity) -> str:
    """The screen's last line."""
    out = Console(record=True, width=160, file=StringIO())
    out.print(screen("a server", seen))
    return out.export_text().splitlines()[-1]
