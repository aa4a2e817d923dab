"""The plan of a measurement: sizes, what fits into a time, and the order of the turns."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from probes.errors import EnginescopeError
from tracing.events.delays import HOLDING
from tracing.whatif.blocks import Treatment
from tracing.whatif.plan import plan, sizes
from tracing.whatif.slopes import least_pairs
from tracing.whatif.stages import DEFAULT, STAGES, apart, nested, stages_named

MS = 1_000_000
SIX = [STAGES[name] for name in DEFAULT]


def test_delays_are_shares_of_a_step_and_no_shorter_than_200_us() -> None:
    assert sizes(10 * MS) == [500_000, 1 * MS, 2 * MS, 4 * MS, 8 * MS]
    assert sizes(3 * MS) == [200_000, 300_000, 600_000, 1_200_000, 2_400_000]
    assert sizes(0.2 * MS) == [200_000]


def test_all_turns_come_in_a_random_order_that_the_seed_gives() -> None:
    todo = plan(SIX[:2], 3 * MS, 60)
    turns = todo.turns(seed=1)
    count = Counter(turns)
    assert set(count) == set(todo.treatments)
    assert all(count[each] == todo.rounds + todo.more_rounds * (each in todo.largest) for each in todo.treatments)
    assert turns == todo.turns(seed=1) != todo.turns(seed=2)


@pytest.mark.parametrize("stages", [1, 6])
@pytest.mark.parametrize("budget_s", [20, 60, 150, 600])
def test_a_plan_keeps_to_its_time_and_has_the_pairs_that_intervals_need(budget_s: float, stages: int) -> None:
    todo = plan(SIX[:stages], 3 * MS, budget_s)
    assert len(todo.turns(0)) * 2 * todo.block_s == todo.seconds <= budget_s
    assert len(todo.sizes_ns) == 1 or todo.rounds >= least_pairs(len(todo.treatments))


def test_the_largest_delay_has_half_of_the_turns_if_the_others_have_enough() -> None:
    """1200 turns, of 30 delays: each stage has 200, and 11 are the fewest of a delay."""
    todo = plan(SIX, 3 * MS, 600)
    assert (todo.rounds, todo.more_rounds) == (25, 75)
    least = plan(SIX, 3 * MS, 170)
    assert (least.rounds, least.more_rounds) == (least_pairs(30), 1)


def test_with_less_time_the_smallest_delays_are_left_out() -> None:
    kept = {budget_s: len(plan(SIX, 3 * MS, budget_s).sizes_ns) for budget_s in (20, 150, 600)}
    assert kept == {20: 1, 150: 4, 600: 5}
    assert plan(SIX, 3 * MS, 150).left_out_ns == (200_000,)


def test_what_was_left_out_is_said_with_the_budget_that_has_room_for_it() -> None:
    todo = plan(SIX, 100 * MS, 600)
    assert (
        todo.left_out == "delays of 5.00 ms, 10.00 ms, 20.00 ms, 40.00 ms had no time: --budget 2640 has room for them"
    )
    assert plan(SIX, 100 * MS, 2640).left_out == "" and plan(SIX, 100 * MS, 2632).left_out != ""


def test_a_delay_that_gave_too_few_pairs_has_its_turn_again() -> None:
    todo = plan(SIX[:2], 3 * MS, 60)
    first, *others = todo.treatments
    enough = least_pairs(len(todo.treatments))
    again = todo.lacking({first: enough - 1} | dict.fromkeys(others, enough))
    assert list(again.turns(seed=0)) == [first]
    assert todo.lacking(dict.fromkeys(todo.treatments, enough)).treatments == ()
    assert replace(todo, rounds=1).lacking({}).treatments == ()  # it was never meant to have intervals


def test_the_largest_delay_is_put_once_more_asleep_as_often_as_intervals_need() -> None:
    todo = plan([STAGES[name] for name in ("schedule", "forward")], 10 * MS, 120)
    more = todo.asleep({"schedule"})
    assert more.treatments == (Treatment(replace(STAGES["schedule"], kind=HOLDING), 8 * MS),)
    assert more.rounds == least_pairs(len(todo.treatments)) and todo.asleep(set()).treatments == ()


def test_several_front_ends_are_delayed_apart_and_of_several_workers_all_or_one() -> None:
    outputs, sample = STAGES["process outputs"], STAGES["sample"]
    front_ends = [("process outputs in 7", 7), ("process outputs in 9", 9)]
    assert [(each.name, each.pid) for each in apart(outputs, [7, 9])] == front_ends
    assert [(each.name, each.pid) for each in apart(sample, [7, 9])] == [("sample", 0), ("sample in 7", 7)]
    assert apart(sample, [7]) == [sample]


def test_a_stage_is_named_with_spaces_dashes_or_underscores() -> None:
    names = "process outputs,process-outputs, schedule,process_outputs"
    assert [stage.name for stage in stages_named(names)] == ["process outputs", "schedule"]


def test_a_stage_that_cannot_be_delayed_is_refused() -> None:
    with pytest.raises(EnginescopeError, match="no stage 'tokenize' can be delayed; there are schedule, "):
        stages_named("schedule,tokenize")


def test_a_stage_that_holds_another_in_a_process_is_said_to() -> None:
    """A worker in the core is called by dispatch, one in a process of its own is sent what it has to do."""
    dispatched, executed = (f"{name} holds {{}}: what they buy does not add up" for name in ("dispatch", "execute"))
    one = {"dispatch": [7], "execute": [7], "forward": [7]}
    assert nested(one) == (dispatched.format("execute, forward"), executed.format("forward"))
    assert nested({"dispatch": [7], "execute": [8, 9], "forward": [8, 9]}) == (executed.format("forward"),)
    assert nested({"dispatch": [7], "forward": [8]}) == nested({name: [7] for name in DEFAULT}) == ()
