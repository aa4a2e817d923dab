"""When prompts are sent: so many at once, or at the times of a schedule."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from probes.batch.sending import arrivals
from probes.client.watch import Limits
from tests.probes.batch.batchclient import ask, settings
from tests.probes.client.stub_server import serving


def test_concurrency_is_bounded(tmp_path: Path) -> None:
    with serving() as (stub, url):
        records = ask(url, "slow", tmp_path, tuple(f"p{n}" for n in range(30)), concurrency=5)
        assert stub.most_open == 5
    assert sorted(record.line for record in records) == list(range(1, 31))


def test_an_open_loop_does_not_wait_for_answers(tmp_path: Path) -> None:
    with serving() as (stub, url):
        records = ask(
            url, "silent", tmp_path, tuple("abcdefghij"), rate=50, arrivals="constant", concurrency=None, stream=False,
            limits=Limits(2, 9, 9, 0.5),
        )  # fmt: skip
        assert stub.most_open == 10
    times = sorted(record.scheduled_s for record in records)
    assert times[-1] - times[0] == pytest.approx(9 / 50, abs=1e-5)


def test_latency_counts_from_the_schedule(tmp_path: Path) -> None:
    """One connection, 50 ms an answer, a prompt every 10 ms: each waits for all before it, and says so."""
    with serving() as (_, url):
        records = ask(
            url, "slow", tmp_path, tuple("abcdef"), rate=100, arrivals="constant", concurrency=1, stream=False
        )
    records.sort(key=lambda record: record.line)
    assert records[5].latency_s > 6 * 0.05 - 5 * 0.01
    assert records[5].sent_s - records[5].scheduled_s > 0.15
    assert all(r.latency_s == pytest.approx(r.ended_s - r.scheduled_s, abs=1e-5) for r in records)


def test_poisson_arrivals() -> None:
    asked = settings("http://h:1", "ok", rate=100.0)
    times = arrivals(asked, 5.0)
    stamps = [next(times) for _ in range(20_001)]
    gaps = [b - a for a, b in itertools.pairwise(stamps)]
    mean = sum(gaps) / len(gaps)
    assert stamps[0] == 5.0 and mean == pytest.approx(0.01, rel=0.03)
    assert sum((gap - mean) ** 2 for gap in gaps) / len(gaps) == pytest.approx(0.01**2, rel=0.06)  # as an exponential's
    again = arrivals(asked, 5.0)
    assert stamps[:100] == [next(again) for _ in range(100)]
