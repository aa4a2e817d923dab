"""Open arrivals: what deliveries tell, slopes of an engine whose arithmetic is known, and what is said of them."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest

from probes.errors import EnginescopeError
from probes.statistics.intervals import Estimate
from tests.tracing.whatif.loads.simulatedarrivals import TOKENS, SimulatedArrivals
from tests.tracing.whatif.loads.simulatedengine import SimulatedEngine, delay, treated
from tests.tracing.whatif.loads.simulatedrecords import FRONT
from tracing.whatif.blocks import Block
from tracing.whatif.loads.deliveries import DeliveryTimes, delivery_times
from tracing.whatif.loads.openload import OpenLoad, means, step_ns, wide
from tracing.whatif.openanswer import OpenAnswer, OpenStageAnswer
from tracing.whatif.plan import MeasurementPlan
from tracing.whatif.report import reported, rows
from tracing.whatif.report.page import html
from tracing.whatif.stages import STAGES

MS = 1_000_000
STEP_NS, APART_NS, BLOCK_NS, DELAY_NS = 10 * MS, 40 * MS, 2000 * MS, 2 * MS
FIVE_PLACES = np.array([0, 10, 20, 30, 40]) * MS


@cache
def measured() -> OpenStageAnswer:
    """Forty blocks with a delay before `schedule`."""
    engine, treatment = SimulatedArrivals(STEP_NS, APART_NS), delay("schedule", DELAY_NS)
    blocks = engine.run(treated(*[treatment] * 40), BLOCK_NS)
    done = MeasurementPlan((treatment,), (DELAY_NS,), 2.0, 40)
    answer = OpenLoad().answer(blocks, engine.recorded(), done, {treatment.stage.name: 1.0})
    assert answer.step_ns == STEP_NS and answer.requests_per_s == pytest.approx(1e9 / APART_NS, rel=0.05)
    return answer.stages[0]


@pytest.mark.parametrize(("outcome", "expected"), [("itl", 1.0), ("ttft", 1.5), ("latency", TOKENS + 0.5)])
def test_each_outcome_grows_as_arithmetic_has_it(outcome: str, expected: float) -> None:
    effect: Estimate = getattr(measured(), outcome)
    assert effect.value == pytest.approx(expected, rel=0.1)
    assert effect.low is not None and effect.high is not None and effect.low <= expected <= effect.high


def test_a_hidden_delay_moves_nothing() -> None:
    """One that is written down and does not make a step longer."""
    engine, treatment = SimulatedArrivals(STEP_NS, APART_NS, seed=1), delay("schedule", DELAY_NS)
    blocks = engine.run([None] * 41, BLOCK_NS)
    treated_blocks = [Block(b.begin_ns, b.end_ns, treatment if n % 2 else None) for n, b in enumerate(blocks)]
    for place in range(round(blocks[-1].end_ns / STEP_NS)):
        engine.span(FRONT, "delay", place * STEP_NS, place * STEP_NS + DELAY_NS, -1, treatment.stage.code)
    done = MeasurementPlan((treatment,), (DELAY_NS,), 2.0, 20)
    [stage] = OpenLoad().answer(treated_blocks, engine.recorded(), done, {treatment.stage.name: 1.0}).stages
    assert stage.itl is not None and stage.itl.value == pytest.approx(0, abs=0.01)
    assert stage.buys_nothing and not stage.pays


def test_times_of_requests_are_matched_within_each_front_end() -> None:
    engine = SimulatedArrivals(STEP_NS, APART_NS)
    engine.run([None], BLOCK_NS)
    times = delivery_times(engine.recorded())
    assert set(times.gap_end_ns - times.gap_begin_ns) == {STEP_NS}
    waits = times.first_ns - times.sent_ns
    assert waits.min() >= STEP_NS and waits.max() <= 2 * STEP_NS
    whole = times.last_ns < BLOCK_NS - STEP_NS
    assert set((times.last_ns - times.first_ns)[whole]) == {(TOKENS - 1) * STEP_NS}


def test_a_request_that_was_sent_before_has_gaps_alone() -> None:
    engine = SimulatedArrivals(STEP_NS, APART_NS)
    engine.run([None], BLOCK_NS)
    [first, *_] = delivery_times(engine.recorded()).sent_ns
    engine.rows[FRONT] = [row for row in engine.rows[FRONT] if row[0] > first]
    times = delivery_times(engine.recorded())
    assert first not in times.sent_ns and len(times.gap_end_ns)


def test_a_request_belongs_to_the_block_in_which_it_was_sent_early_enough() -> None:
    """A block of 100 ms: its first quarter is left out, and the last 40 ms as usual requests end beyond."""
    sent = np.array([10, 30, 40, 50, 70]) * MS
    latencies = np.array([900, 100, 200, 300, 900]) * MS
    times = DeliveryTimes(sent, sent + 5 * MS, sent + latencies, FIVE_PLACES, FIVE_PLACES + 10 * MS)
    assert means(Block(0, 100 * MS), times, (5 * MS, 40 * MS)) == (5 * MS, 10 * MS, 200 * MS)
    assert means(Block(0, 100 * MS), times, (5 * MS, 80 * MS))[2] is None


def test_a_plan_leaves_room_for_requests_and_never_asks_for_more_than_two_fifths_of_a_step() -> None:
    engine = SimulatedArrivals(STEP_NS, APART_NS)
    [look] = engine.run([None], BLOCK_NS)
    todo = OpenLoad().plan([STAGES["schedule"]], look, engine.recorded(), 120)
    assert todo.sizes_ns == (MS, 2 * MS, 4 * MS)
    assert todo.block_s == pytest.approx(3 * (TOKENS + 0.9) * STEP_NS / 1e9, rel=0.02)
    rare = SimulatedArrivals(STEP_NS, 10 * APART_NS)
    [look] = rare.run([None], 10 * BLOCK_NS)
    todo = OpenLoad().plan([STAGES["schedule"]], look, rare.recorded(), 1000)
    assert todo.block_s == pytest.approx(5 * 10 * APART_NS / 1e9, rel=0.3)


def test_intervals_that_tell_little_are_said_to_need_a_time() -> None:
    """Four times as narrow takes sixteen times as long."""
    narrow, unknown = Estimate(1.0, 0.8, 1.2), Estimate(1.0, None, None)
    assert wide([narrow, unknown], 150) == "" and wide([], 150) == ""
    assert wide([narrow, Estimate(1.0, 0.0, 2.0)], 150) == (
        "the widest interval of ITL spans 2.0: --budget 2400 or fewer --stages make it about 0.5"
    )


def test_an_engine_that_delivers_to_nobody_is_refused() -> None:
    engine = SimulatedEngine(3 * MS, MS, MS)
    [look] = engine.run([None], BLOCK_NS)
    with pytest.raises(EnginescopeError, match="no request was seen to be delivered token by token"):
        OpenLoad().plan([STAGES["schedule"]], look, engine.recorded(), 120)


def test_an_idle_engine_is_refused() -> None:
    engine = SimulatedArrivals(STEP_NS, APART_NS)
    engine.run([None], BLOCK_NS)
    with pytest.raises(EnginescopeError, match="the engine was idle while it was looked at"):
        step_ns([Block(2 * BLOCK_NS, 3 * BLOCK_NS)], engine.recorded())


# --- what is said ---

SAMPLE = OpenStageAnswer("sample", 2.0 * MS, 1.0, None, Estimate(1.5, 1.25, 1.75), Estimate(30.0, None, None))
FREE = OpenStageAnswer("update", 0.5 * MS, 1.0, Estimate(0.1, -0.2, 0.4), Estimate(0.0, -0.1, 0.1), None)
ANSWER = OpenAnswer(10.0 * MS, 4.96, (SAMPLE, FREE))


def test_the_first_line_says_that_throughput_is_what_arrives() -> None:
    assert ANSWER.first_line() == (
        "open arrivals (5.0 requests/s): throughput is what arrives, not a stage's; sample moves ITL most: 2.00 ms of "
        "a step of 10.00 ms, at most 3.00 ms of each ITL; update (500.0 µs) costs time and buys nothing; one start of "
        "the engine: another may differ"
    )


def test_a_row_has_every_outcome() -> None:
    cells = ["n/a", "1.50 [1.25, 1.75]", "30.00 [n/a]", "3.00 ms [2.50 ms, 3.50 ms]"]
    assert rows.open_row(SAMPLE) == ["sample", "2.00 ms", "1", *cells]


def test_json_has_no_slope_of_throughput() -> None:
    [sample, _] = json.loads(reported.as_json(ANSWER))["stages"]
    assert sample["slope"] is None and sample["ttft"] is None
    assert sample["itl"] == {"slope": 1.5, "lo": 1.25, "hi": 1.75}


def test_the_page_draws_itl() -> None:
    page = html(ANSWER)
    assert page.count("<circle") == 2 and "of each ITL" in page
