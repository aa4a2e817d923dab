"""The figures of `tracing.top`, from a second of a synthetic engine."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from rich.console import Console

from probes.devices.device import Activity
from probes.devices.sampling import SampledDevice
from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.top.activity import RunningRequest, activity, running
from tracing.top.screen import figures, line, screen

MS = 1_000_000


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
    recorded = timeline.read(tmp_path)
    assert running(recorded) == ["b"]
    seen = activity(recorded, 1.0, {"b": 70.0}, 100.0)
    assert (seen.requests_per_s, seen.steps_per_s, seen.tokens_per_s, seen.step_ms) == (1.0, 2.0, 11.0, 100.0)
    assert (seen.running, seen.waiting, seen.kv_used) == (1, 3, 0.25)
    assert seen.worker_busy is not None and round(seen.worker_busy, 6) == 0.12
    assert round(seen.phases["execute"], 3) == 0.6
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
    seen = activity(timeline.read(tmp_path), 1.0, {}, 1.0)
    assert (seen.worker_busy, seen.device_busy) == (None, 0.69)
    assert seen.phases["forward (launch)"] == 0.05 and "model" not in seen.phases
    assert "ms, device busy 69% at most, running 1" in line(seen)


def test_cards_stand_below_the_figures_and_behind_a_line(tmp_path: Path) -> None:
    TraceWriter(tmp_path, 2, ["core"]).span("scheduler.update", 0, 10, step=0).close()
    cards = [SampledDevice(0, "H100", 1, Activity(87.0, 412.3, 1980.0), 0.5)]
    seen = activity(timeline.read(tmp_path), 1.0, {}, 1.0, cards)
    card = "GPU 0  H100: 87 % busy, 412 W, 1,980 MHz, 50.0 % of its memory (mean of 1 sample)"
    assert line(seen) == f"{figures(seen)}  {card}"
    out = Console(record=True, width=120, file=StringIO())
    out.print(screen("a server", seen))
    assert out.export_text().splitlines()[:3] == ["a server", figures(seen), card]


def test_who_ended_in_the_last_step_runs_no_more(tmp_path: Path) -> None:
    core = TraceWriter(tmp_path, 2, ["core"]).span("scheduler.schedule", 0, 10, step=0).batch(0, {"a": 1, "b": 1})
    core.span("scheduler.free", 20, 21, "a", step=0).close()
    assert running(timeline.read(tmp_path)) == ["b"]
