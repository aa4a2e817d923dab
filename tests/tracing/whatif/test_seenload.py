"""Which load an engine is under, by its steps."""

from __future__ import annotations

import pytest

from tests.tracing.whatif.simulatedarrivals import SimulatedArrivals
from tests.tracing.whatif.simulatedengine import MS, STREAMS, SimulatedEngine
from tracing.whatif.seenload import OPEN, settled, streams_in
from tracing.whatif.steps import RecordedEngine

BLOCK_NS = 500 * MS


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([], None),
        ([8, 8], None),
        ([OPEN, 8, 8, 8], 8),
        ([8, 8, 7, 7, 7], 7),
        ([OPEN, OPEN, OPEN], None),  # the engine warms up
        ([OPEN, 3] * 6, OPEN),
    ],
)
def test_what_looks_agree_on(seen: list[int], expected: int | None) -> None:
    assert settled(seen) == expected


def test_streams_that_decode_alone_are_counted() -> None:
    engine = SimulatedEngine(3 * MS, MS, MS, prefills=frozenset({50}))
    [block] = engine.run([None], BLOCK_NS)
    assert streams_in(block, engine.recorded()) == STREAMS


def test_steps_that_mostly_prefill_are_no_fixed_number_of_streams() -> None:
    engine = SimulatedEngine(3 * MS, MS, MS, prefills=frozenset(range(0, 200, 6)))
    [block] = engine.run([None], BLOCK_NS)
    assert streams_in(block, engine.recorded()) == OPEN


def test_requests_that_come_and_go_are_open() -> None:
    engine = SimulatedArrivals(10 * MS, 20 * MS)
    [block] = engine.run([None], 4 * BLOCK_NS)
    assert streams_in(block, engine.recorded()) == OPEN


def test_an_engine_without_a_step_tells_nothing() -> None:
    engine = SimulatedEngine(3 * MS, MS, MS)
    [_, late] = engine.run([None, None], BLOCK_NS)
    before = {pid: rows[rows["start"] < BLOCK_NS // 2] for pid, rows in engine.recorded().records.items()}
    assert streams_in(late, RecordedEngine(before)) is None
