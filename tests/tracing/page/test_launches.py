"""A device that could not be timed: what workers give to it is a launch all the same, and nothing says who is idle."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from tests.tracing.traces import TraceWriter
from tracing.breakdown.findings import Findings, findings
from tracing.page import sections, terminal
from tracing.page.comparison import trace_changes


def two_workers(folder: Path, device: str | None) -> Findings:
    """Decode steps of 1 ms of two workers, whose forward passes take 100 and 200 µs."""
    core = TraceWriter(folder, 11, ["core"])
    workers = {length: TraceWriter(folder, 12 + length, ["worker"], parent=11) for length in (1, 2)}
    for step in range(4):
        at = 1_000_000 * step
        core.counts(step, {"decode_requests": 1}).span("scheduler.schedule", at, at + 100_000, step=step)
        core.span("scheduler.update", at + 800_000, at + 900_000, step=step)
        for length, worker in workers.items():
            end = at + 200_000 + 100_000 * length
            worker.span("worker.execute", at + 200_000, end, step=step).span(
                "runner.forward", at + 200_000, end, step=step
            )
    core.close()
    for worker in workers.values():
        worker.close(device=device)
    return findings(folder)


def shown(recorded: Findings) -> tuple[str, str]:
    """The review on a terminal, and the section of its page on steps."""
    out = StringIO()
    terminal.show(recorded, Console(file=out, width=400))
    [steps] = [body for heading, _, body in sections.sections(recorded) if heading == "What a step is made of"]
    return out.getvalue(), steps


def test_launches_are_no_work_and_no_worker_is_idle(tmp_path: Path) -> None:
    recorded = two_workers(tmp_path, device="cuda")
    assert not recorded.review.devices
    assert [worker.idle_share for worker in recorded.review.workers] == [None, None]
    assert [worker.slowest_share for worker in recorded.review.workers] == [0.0, 1.0]
    for text in shown(recorded):
        assert "model (launch)" in text and "slowest in" in text
        assert "forward (launch)" not in text and "idle" not in text


def test_on_a_cpu_they_are_the_work_itself(tmp_path: Path) -> None:
    recorded = two_workers(tmp_path, device=None)
    assert [worker.idle_share for worker in recorded.review.workers] == pytest.approx([0.9, 0.8])
    for text in shown(recorded):
        assert "model" in text and "idle" in text and "launch" not in text


def test_a_launch_is_not_compared_with_the_work(tmp_path: Path) -> None:
    both = [two_workers(tmp_path / name, device) for name, device in (("cpu", None), ("gpu", "cuda"))]
    [changes] = trace_changes(*both).values()
    lengths = {change.stage: (change.before_ns, change.after_ns) for change in changes}
    assert lengths["model"] == (200_000, 0) and lengths["model (launch)"] == (0, 200_000)
