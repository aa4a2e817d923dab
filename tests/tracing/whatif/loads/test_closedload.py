"""A fixed number of streams, from blocks to the answer: engines whose arithmetic is known."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tracing.whatif.loads.simulatedengine import MS, STREAMS, SimulatedEngine, treated
from tests.tracing.whatif.loads.simulatedrecords import FRONT
from tracing.whatif.blocks import Block
from tracing.whatif.loads.closedload import ClosedLoad, doubts
from tracing.whatif.measurement import calls_per_step, processes_apart
from tracing.whatif.plan import MeasurementPlan, plan
from tracing.whatif.stages import STAGES
from tracing.whatif.steps import RecordedEngine

HOST_BOUND = (3 * MS, MS, MS // 2)
DEVICE_BOUND = (3 * MS, 10 * MS, MS // 2)
BETWEEN = (3 * MS, 4 * MS, MS // 2)
NAMES = ("schedule", "process outputs")
LOAD = ClosedLoad(STREAMS)


def planned(engine: SimulatedEngine) -> MeasurementPlan:
    return plan([STAGES[name] for name in NAMES], engine.period_ns(), 75)


def blocks_of(engine: SimulatedEngine, *plans: MeasurementPlan) -> list[Block]:
    turns = [turn for todo in plans for turn in todo.turns(0)]
    return engine.run(treated(*turns), round(plans[0].block_s * 1e9))


@pytest.mark.parametrize(
    ("times", "slope", "hidden_up_to_ns"),
    [(HOST_BOUND, 1.0, None), (DEVICE_BOUND, 0.0, 7 * MS), (BETWEEN, 0.0, MS)],
)
def test_the_answer_is_what_the_queue_gives(
    times: tuple[int, int, int], slope: float, hidden_up_to_ns: float | None
) -> None:
    """Host-bound: nothing of a delay in the core is hidden; else so much as the device takes more than the host. The
    front end is far from being the slowest: it hides all but the largest delays."""
    engine = SimulatedEngine(*times)
    todo = planned(engine)
    answer = LOAD.answer(blocks_of(engine, todo), engine.recorded(), todo, dict.fromkeys(NAMES, 1.0))
    schedule, outputs = answer.stages
    assert answer.step_ns == pytest.approx(engine.period_ns(), rel=0.01)
    assert schedule.slope.slope.value == pytest.approx(slope, abs=0.1)
    up_to = schedule.slope.hidden_up_to_ns
    assert (up_to and up_to.value) == (hidden_up_to_ns and pytest.approx(hidden_up_to_ns, rel=0.1))
    assert outputs.slope.slope.value == pytest.approx(0, abs=0.1) and outputs.buys_nothing
    assert outputs.time_ns == pytest.approx(MS / 2, rel=0.01)


def test_a_spin_that_costs_others_is_told_by_a_sleep() -> None:
    engine = SimulatedEngine(*HOST_BOUND, spin_costs=1.5)
    todo, calls = planned(engine), dict.fromkeys(NAMES, 1.0)
    blocks = blocks_of(engine, todo)
    more = doubts(LOAD.answer(blocks, engine.recorded(), todo, calls), todo)
    assert [treatment.stage.name for treatment in more.treatments] == ["schedule"]
    again = SimulatedEngine(*HOST_BOUND, spin_costs=1.5)
    schedule, outputs = LOAD.answer(blocks_of(again, todo, more), again.recorded(), todo, calls).stages
    assert schedule.costs_more and schedule.takes_processor is True
    assert schedule.asleep is not None and schedule.asleep.slope.value == pytest.approx(1, abs=0.1)
    assert outputs.asleep is None


def test_blocks_are_longer_where_few_steps_only_decode() -> None:
    """Of each nine steps the prefill and those in flight with it are no steady ones: four are left."""
    plans = []
    for prefills in (frozenset[int](), frozenset(range(0, 700, 9))):
        engine = SimulatedEngine(10 * MS, MS, MS, prefills=prefills)
        [look] = engine.run([None], 2000 * MS)
        plans.append(LOAD.plan([STAGES["schedule"]], look, engine.recorded(), 300))
    assert plans[0].block_s == pytest.approx(0.4, rel=0.05)
    assert plans[1].block_s == pytest.approx(0.9, rel=0.05)


def test_where_no_slope_is_above_one_nothing_is_doubted() -> None:
    engine = SimulatedEngine(*HOST_BOUND)
    todo = planned(engine)
    blocks = blocks_of(engine, todo)
    answer = LOAD.answer(blocks, engine.recorded(), todo, dict.fromkeys(NAMES, 1.0))
    assert doubts(answer, todo).treatments == ()


def test_two_front_ends_are_apart_with_calls_and_times_of_their_own() -> None:
    """The second is sent a message in every other step, and takes twice as long for it."""
    engine = SimulatedEngine(*HOST_BOUND)
    [block] = engine.run([None], 300 * MS)
    rows = engine.recorded().records
    other = rows[FRONT][1::2].copy()
    other["end"] = other["start"] + MS
    recorded = RecordedEngine({**rows, 3: other})
    stages = processes_apart([STAGES["schedule"], STAGES["process outputs"]], block, recorded)
    names = ["schedule", f"process outputs in {FRONT}", "process outputs in 3"]
    assert [stage.name for stage in stages] == names
    assert calls_per_step(stages, block, recorded) == dict.fromkeys(names, 1.0)
    windows = (np.array([block.begin_ns]), np.array([2 * block.end_ns]))
    assert recorded.time_ns(stages[2], windows) == len(other) * MS
    assert recorded.time_ns(stages[1], windows) == len(rows[FRONT]) * MS // 2
