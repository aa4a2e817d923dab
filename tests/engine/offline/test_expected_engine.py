"""The simulator beside the real engine: random batches on three engines, and every count has to agree.

`tests/bench/expected_tokens.py` compares three times as many.
"""

from __future__ import annotations

import pytest

from tests.engine.offline.random_batches import AMPLE, WORKLOADS, Comparison, compare

BATCHES = 30
pytestmark = [pytest.mark.engine, pytest.mark.slow(90)]


@pytest.fixture(scope="module")
def comparisons(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Comparison]:
    return compare(tmp_path_factory.mktemp("expected"), WORKLOADS, BATCHES)


@pytest.mark.parametrize("name", [workload.name for workload in WORKLOADS])
def test_the_engine_finds_what_is_expected(comparisons: dict[str, Comparison], name: str) -> None:
    comparison = comparisons[name]
    assert comparison.differences() == []
    if comparison.workload.settings is AMPLE:
        assert all(want["timing_free"] for want in comparison.expected)
    else:  # or the test would show little
        assert comparison.total("preemptions") >= 10 and comparison.total("hits") > 3_000
