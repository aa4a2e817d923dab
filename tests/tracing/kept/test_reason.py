"""The likely reason of what was kept, from traces whose reason is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.tracing.stories import stream
from tests.tracing.traces import TraceWriter
from tracing.events.contention import COLUMNS, FILE
from tracing.events.layout import CALLED, SUSPENDED, YIELDED
from tracing.kept.keeping import Keep
from tracing.kept.reason import UNKNOWN, reason

MS = 1_000_000


def keep(condition: str, at_ms: int, value_ms: int, pid: int = 2, request: str = "", step: int = -1) -> Keep:
    return Keep(condition, 0.0, at_ms * MS, value_ms * MS, pid, request, step, 0)


def steps(folder: Path, last_ms: int = 10, pid: int = 2, serves: Sequence[str] = ("core",), **last: int) -> TraceWriter:
    """Ten steps of 10 ms with 8 tokens each, begun every 20 ms; the last one is other."""
    core = TraceWriter(folder, pid, list(serves))
    for number in range(10):
        begin = number * 20 * MS
        counts = {"decode_requests": 8, "decode_tokens": 8} | (last if number == 9 else {})
        core.span("scheduler.schedule", begin, begin + MS, step=number).counts(number, counts)
        end = begin + (last_ms if number == 9 else 10) * MS
        core.span("scheduler.update", end - MS, end, step=number)
    return core


@pytest.mark.parametrize("serves", [["core"], ["front end", "core", "worker"]])
def test_a_step_that_its_peers_explain(tmp_path: Path, serves: list[str]) -> None:
    """In an engine of one process too, whose collections have the role of its front end."""
    steps(tmp_path, 500, serves=serves).span("gc", 181 * MS, 600 * MS).close()
    assert reason(tmp_path, keep("step > 100ms", 680, 500, step=9)) == "garbage collection: 419.00 ms"


def test_a_long_prompt(tmp_path: Path) -> None:
    steps(tmp_path, 500, prefill_requests=1, prefill_tokens=3000).close()
    line = "a long prompt: 3,008 tokens in one step of 500.00 ms (the median step has 8)"
    assert reason(tmp_path, keep("step > 100ms", 680, 500, step=9)) == line
    assert reason(tmp_path, keep("itl > 100ms", 685, 510, pid=1, request="another")) == line
    assert reason(tmp_path, keep("itl > 100ms", 2000, 1900, pid=1, request="another")) == UNKNOWN


@pytest.mark.parametrize(("site", "phase"), [("scheduler.schedule", "schedule"), ("gc", "garbage collection")])
def test_a_step_without_peers_that_took_long_beside_the_model(tmp_path: Path, site: str, phase: str) -> None:
    """Its few more tokens are no long prompt: a worker had not even seen them."""
    story = steps(tmp_path, 500, prefill_requests=1, prefill_tokens=30)
    story.span(site, 181 * MS, 641 * MS, step=9).close()
    line = reason(tmp_path, keep("step > 100ms", 680, 500, step=9))
    assert line.startswith(f"{phase} took 46") and line.endswith("of 500.00 ms")


def test_another_core_is_no_reason(tmp_path: Path) -> None:
    steps(tmp_path, 500, prefill_requests=1, prefill_tokens=3000).close()
    steps(tmp_path, pid=3).batch(9, {"b": 1}).close(first_ns=1)
    for pid in (1, 3):  # noticed in the front end, and in its own core
        assert reason(tmp_path, keep("latency > 100ms", 680, 500, pid=pid, request="b")) == UNKNOWN


def test_a_process_that_was_stopped(tmp_path: Path) -> None:
    steps(tmp_path, 500).close()
    TraceWriter(tmp_path, 3, ["worker"], parent=2).span("worker.execute", 182 * MS, 670 * MS, step=9).close()
    rows = [(100 * MS, "stopped", 3, 0, 0), (200 * MS, "stopped", 3, 0, 0), (600 * MS, "stopped", 3, 0, 400 * MS)]
    lines = [",".join(COLUMNS), *(",".join(map(str, row)) for row in rows)]
    (tmp_path / FILE).write_text("\n".join(lines) + "\n")
    line = "the worker (pid 3) was stopped by a signal for 400.00 ms of 500.00 ms"
    assert reason(tmp_path, keep("step > 100ms", 680, 500, step=9)) == line


def test_a_client_that_is_slow(tmp_path: Path) -> None:
    story = stream(tmp_path, [5000, *[7] * 200])
    taken = Keep("latency > 1us", 0.0, story.now, story.now - 1000, 10, "a", -1, 0)
    assert reason(tmp_path, taken).startswith("wait: caller: ")


def test_a_client_that_is_away_while_outputs_come(tmp_path: Path) -> None:
    """They wait for it, not for the event loop."""
    engine = TraceWriter(tmp_path, 2, ["front end", "core"]).renamed("a-1", "a")
    engine.span("async.generate", 0, 0, "a", value=CALLED).span("input.assign_id", 1 * MS, 2 * MS, "a-1")
    engine.span("core.add_request", 2 * MS, 3 * MS, "a-1", value=5)
    engine.span("async.generate", 3 * MS, 4 * MS, "a", value=SUSPENDED)
    engine.span("scheduler.schedule", 4 * MS, 5 * MS, step=0).batch(0, {"a-1": 1}).counts(0, {"decode_requests": 1})
    engine.span("async.generate", 10 * MS, 11 * MS, "a", value=YIELDED)
    engine.span("output.deliver", 20 * MS, 21 * MS, "a-1")
    engine.span("scheduler.free", 20 * MS, 21 * MS, "a-1", step=0, value=2, extra="FINISHED_STOPPED")
    engine.span("async.generate", 600 * MS, 601 * MS, "a", value=YIELDED, extra=1).close()
    slow = keep("itl > 400ms", 601, 590, request="a")
    assert reason(tmp_path, slow) == "wait: caller: 589.00 ms of 590.00 ms"


def test_a_front_end_that_gets_no_core(tmp_path: Path) -> None:
    """Its engine's steps have nothing against them."""
    story = stream(tmp_path, [7] * 14 + [5 * MS] + [7] * 100, steps=1)
    rows = [(moment, "run queue", 10, 1, max(moment - MS, 0)) for moment in range(0, 8 * MS, MS)]
    lines = [",".join(COLUMNS), *(",".join(map(str, row)) for row in rows)]
    (tmp_path / FILE).write_text("\n".join(lines) + "\n")
    late = Keep("ttft > 1ms", 0.0, story.now, story.now - 1000, 10, "a", -1, 0)
    assert reason(tmp_path, late) == "the machine was busy: a thread of the engine was in the run queue for 4.00 ms"


def test_a_step_without_peers_that_gets_no_core(tmp_path: Path) -> None:
    """Between two samples the loss is taken as even: 16 ms of it lie before the step."""
    steps(tmp_path, 500, decode_requests=30, decode_tokens=30).close()
    rows = [(moment * MS, "run queue", 2, 1, max(moment - 180, 0) * MS) for moment in range(0, 700, 100)]
    lines = [",".join(COLUMNS), *(",".join(map(str, row)) for row in rows)]
    (tmp_path / FILE).write_text("\n".join(lines) + "\n")
    line = "the machine was busy: a thread of the engine was in the run queue for 404.00 ms"
    assert reason(tmp_path, keep("step > 100ms", 680, 500, step=9)) == line


def test_a_request_that_goes_on_after_it_was_slow(tmp_path: Path) -> None:
    """As most do of which the first output came late."""
    story = stream(tmp_path, [7] * 14 + [5000] + [7] * 100, steps=1, ends=False)
    slow = Keep("ttft > 1us", 0.0, story.now - 2, story.now - 1002, 10, "a", -1, 0)
    assert reason(tmp_path, slow) == "wait: scheduler queue: 5.0 µs of 5.2 µs"


def test_a_full_cache(tmp_path: Path) -> None:
    steps(tmp_path, preempted=1, kv_used_blocks=31, kv_blocks=32, waiting=3).close()
    line = "31 of 32 blocks of the KV cache were in use, 8 requests ran and 3 waited"
    assert reason(tmp_path, keep("preempted", 180, 0, step=9)) == line


def test_an_exception(tmp_path: Path) -> None:
    TraceWriter(tmp_path, 3, ["worker"]).span("worker.execute", 1, 5 * MS, step=0, raised=True).close()
    assert reason(tmp_path, keep("error", 5, 0, pid=3, step=0)) == "an exception in worker.execute"
