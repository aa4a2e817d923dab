"""Two traces compared: what takes longer in the second one, with blocks of time as replicates."""

from __future__ import annotations

from pathlib import Path

import pytest

from probes.errors import EnginescopeError
from tests.tracing.stories import batch, stream
from tests.tracing.traces import TraceWriter
from tracing import review
from tracing.breakdown.findings import findings
from tracing.page.comparison import in_one_alone, request_blocks, trace_changes


def decode_steps(folder: Path, schedule_ns: int) -> Path:
    """Sixteen steps of 500 ns and what `schedule` takes beyond 100; it varies by up to 3 ns."""
    core = TraceWriter(folder, 11, ["core"])
    for step in range(16):
        at = 10_000 * (step + 1)
        scheduled = at + schedule_ns + step % 4
        core.span("scheduler.schedule", at, scheduled, step=step).batch(step, {"a": 1})
        core.counts(step, {"decode_requests": 1}).span("scheduler.update", scheduled + 350, scheduled + 400, step=step)
    core.close()
    return folder


def test_the_stage_that_grew_is_the_first_thing_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = decode_steps(tmp_path / "before", 100), decode_steps(tmp_path / "after", 2100)
    assert review.compare(before, after) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    change = "+2.0 µs (+2.0 µs to +2.0 µs)"
    assert first == f"A decode step takes 2.5 µs, before 0.5 µs: {change}; schedule {change}."
    [row] = [line.split() for line in rest if line.startswith("schedule ")]
    assert row[-1] == "grew"
    assert "the intervals say nothing of other engine starts" in rest[-1]


def test_a_trace_beside_itself_shows_no_change(tmp_path: Path) -> None:
    both = [findings(decode_steps(tmp_path / name, 100)) for name in ("before", "after")]
    [(part, changes)] = trace_changes(*both).items()
    assert part == "decode step" and not any(change.grew or change.shrank for change in changes)


def test_requests_that_overlap_are_one_replicate(tmp_path: Path) -> None:
    """They share the engine's steps, so that what slows one of them slows all."""
    batch(tmp_path)
    two = findings(tmp_path)
    assert len(two.budgets) == 2 and len(request_blocks(two)) == 1
    assert {change.lo_ns for change in trace_changes(two, two)["request"]} == {None}


def test_stages_of_one_trace_alone_are_named(tmp_path: Path) -> None:
    """A batch of `LLM` beside a stream of `AsyncLLM`, whose caller takes each output."""
    batch(tmp_path / "before")
    stream(tmp_path / "after", [1000] * 45, steps=1)
    before, after = (findings(tmp_path / name) for name in ("before", "after"))
    first, second = in_one_alone(before, after)
    assert first == "Stages of the first trace alone: generate, wait: turn in generate."
    assert second.startswith("Stages of the second trace alone: ") and "wait: caller" in second
    assert "tokenize" not in second  # both tokenize
    assert not list(in_one_alone(before, before))


def test_what_is_for_one_trace_is_refused_for_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["review", str(tmp_path), str(tmp_path), "--csv", "spans.csv"])
    with pytest.raises(EnginescopeError, match="--perfetto and --csv are for one trace, not for two"):
        review.main()
