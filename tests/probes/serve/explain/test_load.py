"""Periodic lines as load over time."""

from __future__ import annotations

import pytest

from probes.serve.explain.load import MOST_WINDOWS, Load
from probes.serve.explain.logline import LogLine
from probes.serve.explain.sections import load_over_time
from tests.probes.serve.explain.lines import load, parsed


def load_of(*lines: str) -> Load:
    found = Load()
    assert all(found.read(line) for line in parsed(lines))
    return found


def test_a_window_has_mean_throughput_and_the_most_of_the_rest() -> None:
    found = load_of(load("12:00:01", 100.0, 50.0, 3, 10.0), load("12:00:09", 300.0, 70.0, 5, 8.0))
    (window,) = found.windows()
    assert (window.prompt_tok_s, window.generation_tok_s, window.running) == (200.0, 60.0, 5)
    assert window.kv_use == pytest.approx(0.1) and window.hit_rate == pytest.approx(0.4)


def test_lines_without_a_time_are_of_no_time() -> None:
    _, _, untimed = load("12:00:01", 100.0, 50.0, 3, 10.0).partition("] ")
    (row,) = load_over_time(load_of(untimed), 12).rows
    assert row[:4] == ["-", "100.0", "50.0", "3"]


def test_engines_are_summed_and_the_fullest_counts() -> None:
    other = load("12:00:02", 10.0, 5.0, 2, 90.0).replace("Engine 000", "Engine 001")
    (window,) = load_of(load("12:00:01", 100.0, 50.0, 3, 10.0), other).windows()
    assert (window.prompt_tok_s, window.running) == (110.0, 5) and window.kv_use == pytest.approx(0.9)


def test_two_front_ends_of_an_engine_see_the_same_requests_and_their_own_tokens() -> None:
    lines = (load("12:00:01", 100.0, 50.0, 3, 10.0, f"ApiServer_{number}") for number in (0, 1))
    (window,) = load_of(*lines).windows()
    assert (window.prompt_tok_s, window.running) == (200.0, 3)


@pytest.mark.parametrize(
    ("line", "waiting", "kv_use", "hit_rate"),
    [
        ("INFO 04-23 14:52:34 [metrics.py:489] Avg prompt throughput: 0.0 tokens/s, "
         "Avg generation throughput: 9.0 tokens/s, Running: 1 reqs, Swapped: 0 reqs, Pending: 2 reqs, "
         "GPU KV cache usage: 5.0%, CPU KV cache usage: 0.0%.",
         2, 0.05, None),
        ("INFO 04-23 14:52:34 [loggers.py:80] Avg prompt throughput: 1.0 tokens/s, "
         "Avg generation throughput: 9.0 tokens/s, Running: 1 reqs, Waiting: 0 reqs, "
         "GPU KV cache usage: 5.0%, Prefix cache hit rate: 12.5%", 0, 0.05, 0.125),
        ("INFO 04-23 14:52:34 [loggers.py:80] 4 Engines Aggregated: Avg prompt throughput: 1.0 tokens/s, "
         "Avg generation throughput: 9.0 tokens/s, Running: 1 reqs, Waiting: 7 reqs, Deferred: 1 reqs, "
         "Preemptions: 2, CPU KV cache usage: 50.0%, Prefix cache hit rate: 12.5%, "
         "External prefix cache hit rate: 99.0%", 7, 0.5, 0.125),
    ],
)  # fmt: skip
def test_lines_of_other_versions(line: str, waiting: int, kv_use: float, hit_rate: float | None) -> None:
    (window,) = load_of(line).windows()
    assert (window.waiting, window.generation_tok_s) == (waiting, 9.0)
    assert window.kv_use == pytest.approx(kv_use) and window.hit_rate == hit_rate


def test_windows_grow_so_that_there_are_never_many() -> None:
    words = parsed([load("12:00:00", 100.0, 50.0, 3, 10.0)])[0].words
    found = Load()
    for number in range(5000):
        found.read(LogLine(10.0 * number, "APIServer", words))
    windows = found.windows()
    assert len(windows) <= MOST_WINDOWS and found.lines == 5000
    assert {window.prompt_tok_s for window in windows} == {100.0}
    assert len(found.windows(12)) <= 12
