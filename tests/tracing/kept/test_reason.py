"""The likely reason of what was kept, from traces whose reason is known."""

from __future__ import annotations

from pathlib import Path

from tests.tracing.stories import stream
from tests.tracing.traces import TraceWriter
from tracing.events.contention import COLUMNS, FILE
from tracing.kept.keeping import Keep
from tracing.kept.reason import UNKNOWN, reason

MS = 1_000_000


def keep(condition: str, at_ms: int, value_ms: int, pid: int = 2, request: str = "", step: int = -1) -> Keep:
    return Keep(condition, 0.0, at_ms * MS, value_ms * MS, pid, request, step, 0)


def steps(folder: Path, last_ms: int = 10, pid: int = 2, **last: int) -> TraceWriter:
    """Ten steps of 10 ms with 8 tokens each, begun every 20 ms; the last one is other."""
    core = TraceWriter(folder, pid, ["core"])
    for number in range(10):
        begin = number * 20 * MS
        counts = {"decode_requests": 8, "decode_tokens": 8} | (last if number == 9 else {})
        core.span("scheduler.schedule", begin, begin + MS, step=number).counts(number, counts)
        end = begin + (last_ms if number == 9 else 10) * MS
        core.span("scheduler.update", end - MS, end, step=number)
    return core


def test_a_step_that_its_peers_explain(tmp_path: Path) -> None:
    steps(tmp_path, 500).span("gc", 181 * MS, 600 * MS).close()
    assert reason(tmp_path, keep("step > 100ms", 680, 500, step=9)) == "garbage collection: 419.00 ms"


def test_a_long_prompt(tmp_path: Path) -> None:
    steps(tmp_path, 500, prefill_requests=1, prefill_tokens=3000).close()
    line = "a long prompt: 3,008 tokens in one step of 500.00 ms (the median step has 8)"
    assert reason(tmp_path, keep("step > 100ms", 680, 500, step=9)) == line
    assert reason(tmp_path, keep("itl > 100ms", 685, 510, pid=1, request="another")) == line
    assert reason(tmp_path, keep("itl > 100ms", 2000, 1900, pid=1, request="another")) == UNKNOWN


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
