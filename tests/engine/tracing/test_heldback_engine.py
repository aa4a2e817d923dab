"""Each reason for which a CPU engine keeps a request in its queue, forced on the real one and named by the review."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.engine.recording import FORKED, Trace, record_program
from tracing.breakdown.findings import Findings, findings

pytestmark = [pytest.mark.engine, pytest.mark.slow(60)]
REASONS = ("sequence limit", "token budget", "chunk threshold", "KV blocks", "grammar not ready")
PLAIN = "wait: scheduler queue"


@pytest.fixture(scope="module")
def held_back(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """One engine with small limits, and requests for which each is too small in turn."""
    trace = record_program("held_back", tmp_path_factory.mktemp("held-back") / "trace", **FORKED)
    assert trace.completed.returncode == 0, trace.completed.stderr[-3000:]
    return trace


@pytest.fixture(scope="module")
def found(held_back: Trace) -> Findings:
    return findings(held_back.folder)


def asked(held_back: Trace, reason: str) -> list[str]:
    """The ids of the requests that were sent to wait for a reason."""
    [line] = [line for line in held_back.completed.stdout.splitlines() if line.startswith(f"{reason}: ")]
    return line.partition(": ")[2].split()


def queue_of(found: Findings, external: str) -> pd.Series:
    """The time of a request in the queue, by part."""
    [internal] = [flow.request for flow in found.flows if flow.external == external]
    parts = found.budgets.loc[internal]
    return parts[[name for name in parts.index if str(name).startswith(PLAIN) and parts[name] > 0]]


@pytest.mark.parametrize("reason", REASONS)
def test_the_reason_is_named(held_back: Trace, found: Findings, reason: str) -> None:
    """The last of the requests waits the longest for what they were sent to wait for."""
    parts = queue_of(found, asked(held_back, reason)[-1])
    told = parts.drop(PLAIN, errors="ignore")
    assert told.idxmax() == f"{PLAIN} ({reason})", parts
    assert f"{PLAIN} (not known)" not in parts, parts


def test_the_head_of_the_queue_waited_for_each(found: Findings) -> None:
    assert {row.reason for row in found.review.queue} == set(REASONS)
    assert sum(row.share for row in found.review.queue) == pytest.approx(1)


def test_the_limits_are_the_engines(found: Findings) -> None:
    assert {(row.token_limit, row.sequence_limit) for row in found.review.use} == {(128, 4)}
    assert all(0 < row.token_share <= 1 and 0 < row.sequence_share <= 1 for row in found.review.use)
