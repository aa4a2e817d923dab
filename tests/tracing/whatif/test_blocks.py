"""Blocks cut out of an engine's steps, and the slopes of engines whose arithmetic is known."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tracing.whatif.loads.simulatedengine import FORWARD_NS, STREAMS, SimulatedEngine, delay, treated
from tests.tracing.whatif.loads.simulatedrecords import FRONT
from tracing.whatif.blocks import Block, BlockSteps, cut, pairs, usual_lag
from tracing.whatif.slopes import sized_slope

MS = 1_000_000
BLOCK_NS = 400 * MS
# What each engine has to wait for: its host, its device, and nearly both.
HOST_BOUND = (3 * MS, MS, MS)
DEVICE_BOUND = (3 * MS, 10 * MS, MS)
BETWEEN = (3 * MS, 4 * MS, MS)
ENGINES = pytest.mark.parametrize("times", [HOST_BOUND, DEVICE_BOUND, BETWEEN])


def measured(engine: SimulatedEngine, stage: str, length_ns: int, rounds: int = 2) -> float:
    """The slope that some rounds of one delay give."""
    treatment = delay(stage, length_ns)
    blocks = engine.run(treated(*[treatment] * rounds), BLOCK_NS)
    return sized_slope(pairs(blocks, engine.recorded(), STREAMS)[treatment]).slope.value


@ENGINES
@pytest.mark.parametrize("length_ns", [MS // 2, 2 * MS, 8 * MS])
def test_a_delay_in_the_core_costs_what_the_queue_does_not_hide(times: tuple[int, int, int], length_ns: int) -> None:
    engine = SimulatedEngine(*times)
    expected = (engine.period_ns(core_delay_ns=length_ns) - engine.period_ns()) / length_ns
    assert measured(engine, "schedule", length_ns) == pytest.approx(expected, abs=0.01)


@ENGINES
@pytest.mark.parametrize("length_ns", [MS // 2, 2 * MS, 8 * MS])
def test_a_delay_on_the_device_costs_what_the_device_was_not_idle_for(
    times: tuple[int, int, int], length_ns: int
) -> None:
    """Device-bound each microsecond counts; host-bound it is hidden up to what the host takes more than the device."""
    engine = SimulatedEngine(*times)
    expected = (engine.period_ns(device_delay_ns=length_ns) - engine.period_ns()) / length_ns
    assert measured(engine, "work on device", length_ns) == pytest.approx(expected, abs=0.01)


@ENGINES
@pytest.mark.parametrize("length_ns", [MS // 2, 2 * MS, 8 * MS])
def test_a_front_end_that_falls_behind_is_the_slowest(times: tuple[int, int, int], length_ns: int) -> None:
    """The core goes on meanwhile: what counts is what was delivered, and what was left is in no block."""
    engine = SimulatedEngine(*times)
    expected = (engine.period_ns(front_delay_ns=length_ns) - engine.period_ns()) / length_ns
    assert measured(engine, "process outputs", length_ns) == pytest.approx(expected, abs=0.03)


def test_single_stalls_are_cut() -> None:
    """Two steps of 100 ms among those of 3 ms count as no longer than 6."""
    begin_ns = np.arange(100) * 3 * MS
    length_ns = np.where(np.isin(np.arange(100), (20, 70)), 100 * MS, 3 * MS)
    assert BlockSteps((begin_ns, begin_ns + length_ns)).period_ns == 3.06 * MS


def test_the_steps_in_flight_are_in_no_block() -> None:
    engine = SimulatedEngine(*HOST_BOUND)
    blocks = engine.run(treated(delay("schedule", MS)), BLOCK_NS)
    steps = engine.recorded().steps(STREAMS)
    before, during, _ = (cut(block, steps, usual_lag(steps, blocks)) for block in blocks)
    assert set(np.subtract(*before.windows[::-1])) == {3 * MS} and set(np.subtract(*during.windows[::-1])) == {4 * MS}


def test_a_step_with_a_prefill_counts_for_nothing_nor_do_those_in_flight_with_it() -> None:
    engine = SimulatedEngine(*HOST_BOUND, prefills=frozenset({50}))
    [block] = engine.run([None], BLOCK_NS)
    steps = engine.recorded().steps(STREAMS)
    assert steps.number[~steps.steady].tolist() == [48, 49, 50, 51, 52]
    assert (
        cut(block, steps, usual_lag(steps, [block])).count == steps.number.size - 4 - 2 - 5
    )  # those that settle and those in flight as well


def test_a_block_without_a_step_gives_no_pair() -> None:
    engine, treatment = SimulatedEngine(*HOST_BOUND), delay("schedule", MS)
    engine.run([None, None], BLOCK_NS)
    late = 10 * BLOCK_NS
    blocks = [Block(0, BLOCK_NS), Block(late, late + 1, treatment), Block(late + 1, late + 2)]
    assert pairs(blocks, engine.recorded(), STREAMS) == {treatment: []}


def test_a_stages_own_time_is_that_of_its_calls_in_the_windows() -> None:
    engine = SimulatedEngine(*HOST_BOUND)
    [block] = engine.run([None], BLOCK_NS)
    recorded = engine.recorded()
    steps = recorded.steps(STREAMS)
    look = cut(block, steps, usual_lag(steps, [block]))
    assert recorded.inside(delay("forward", MS).stage.code, look.windows) == [look.count * FORWARD_NS]


def test_on_a_device_the_stages_own_time_is_what_a_step_takes_there() -> None:
    engine = SimulatedEngine(*DEVICE_BOUND)
    [block] = engine.run([None], BLOCK_NS)
    recorded = engine.recorded()
    steps = recorded.steps(STREAMS)
    look = cut(block, steps, usual_lag(steps, [block]))
    own_ns = recorded.time_ns(delay("work on device", MS).stage, look.windows)
    assert own_ns == pytest.approx(look.count * 10 * MS, rel=0.01)


def test_a_step_whose_message_was_not_processed_was_not_delivered() -> None:
    engine = SimulatedEngine(*HOST_BOUND)
    engine.run([None], BLOCK_NS)
    engine.rows[FRONT].pop(20)
    numbers = engine.recorded().steps(STREAMS).number.tolist()
    assert 19 in numbers and 20 not in numbers and 21 in numbers
