"""Which load an engine is under, by its steps."""

from __future__ import annotations

import pytest

from tests.tracing.whatif.loads.simulatedarrivals import SimulatedArrivals
from tests.tracing.whatif.loads.simulatedengine import MS, STREAMS, SimulatedEngine
from tracing.whatif.loads.seenload import ARRIVALS, LOOKS, OPEN, SeenLook, seen_in, settled
from tracing.whatif.steps import RecordedEngine

LOOK_NS = 500 * MS


def looks(streams: list[int], arrivals: int = 1) -> list[SeenLook]:
    return [SeenLook(number, arrivals) for number in streams]


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        ([], None),
        (looks([8] * 5), None),
        (looks([OPEN] + [8] * 6), 8),
        (looks([8, 8, 8, 7, 8, 8]), None),
        (looks([8] * 6, arrivals=0), None),  # nobody has been answered yet: it may be a quiet moment of open arrivals
        (looks([8] * LOOKS, arrivals=0), 8),
        (looks([OPEN] * 6), None),  # the engine may warm up
        (looks([OPEN] * LOOKS), OPEN),
        (looks([3, 4, 3, 5, 4] * 4), OPEN),
    ],
)
def test_what_looks_agree_on(looks: list[SeenLook], expected: int | None) -> None:
    assert settled(looks) == expected


def looked_at(engine: RecordedEngine, number: int) -> SeenLook:
    begin_ns = number * LOOK_NS
    return seen_in(engine.scheduled(begin_ns, begin_ns + LOOK_NS), LOOK_NS)


def test_streams_are_counted_also_where_they_are_answered_again_and_again() -> None:
    for prefills in (frozenset({50}), frozenset(range(0, 170, 6))):
        engine = SimulatedEngine(3 * MS, MS, MS, prefills=prefills)
        engine.run([None], LOOK_NS)
        assert looked_at(engine.recorded(), 0) == SeenLook(STREAMS, len([step for step in prefills if step < 167]))


@pytest.mark.parametrize("apart_ms", [8, 40, 100, 400])
def test_requests_that_come_and_go_are_open(apart_ms: int) -> None:
    """Of a request of 200 ms each: with 25, 5, 2 and half of one at a time."""
    engine = SimulatedArrivals(10 * MS, apart_ms * MS, seed=2)
    engine.run([None] * 3 * LOOKS, LOOK_NS)
    recorded = engine.recorded()
    looks: list[SeenLook] = []
    for number in range(3 * LOOKS):
        if settled(looks) is None and len(recorded.scheduled(number * LOOK_NS, (number + 1) * LOOK_NS).requests):
            looks.append(looked_at(recorded, number))
    assert settled(looks) == OPEN and sum(look.arrivals for look in looks) >= ARRIVALS


def test_an_idle_engine_is_not_one_of_few_streams() -> None:
    """A step of 3 ms, and then none for the rest of the look."""
    engine = SimulatedEngine(3 * MS, MS, MS)
    engine.run([None], LOOK_NS)
    steps = engine.recorded().scheduled(0, 100 * MS)
    assert seen_in(steps, 100 * MS).streams == STREAMS and seen_in(steps, 200 * MS).streams == OPEN
