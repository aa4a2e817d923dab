"""Which engines are alive together, and in what order their trials run."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.spec.grid import arms
from offline.spec.passes import passes
from offline.spec.spec import Spec


def spec(**changes: Any) -> Spec:
    """Four arms: two block sizes, caching off and on; six cells an arm that caches, three in the others."""
    lengths = {"input_len": (8,), "output_len": (2,), "shared_prefix_len": (5,)}
    return Spec(**{"batch_size": (1, 4, 8), "block_size": (16, 32), "repeats": 3, "starts": 2, **lengths} | changes)


def test_a_round_visits_a_cell_in_all_arms_before_the_next_cell() -> None:
    sweep = spec()
    for each in passes(sweep, arms(sweep, {}), alive=4):
        for one in each.rounds(sweep):
            visits = [(trial.cell, {t.arm.id for t in one if t.cell == trial.cell}) for trial in one]
            cells = [cell for cell, _ in visits]
            assert [cell for cell, _ in itertools.groupby(cells)] == list(dict.fromkeys(cells))
            assert {cell.cache_state: len(ids) for cell, ids in visits} == {"cold": 4, "warm": 2}


def test_both_orders_are_drawn_anew_in_every_round_and_are_repeatable() -> None:
    sweep = spec(repeats=20)
    [first, second] = passes(sweep, arms(sweep, {}), alive=4)
    orders = [tuple((t.cell, t.arm.id) for t in one) for each in (first, second) for one in each.rounds(sweep)]
    assert len(set(orders)) == 40
    assert len({tuple(dict.fromkeys(cell for cell, _ in order)) for order in orders}) > 20
    assert first.rounds(sweep) == passes(sweep, arms(sweep, {}), alive=4)[0].rounds(sweep)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 5), st.integers())
def test_every_arm_has_all_its_trials_in_each_start_with_seeds_of_their_own(
    repeats: int, starts: int, alive: int, seed: int
) -> None:
    sweep = spec(repeats=repeats, starts=starts, seed=seed)
    grid = arms(sweep, {})
    trials = [trial for each in passes(sweep, grid, alive) for one in each.rounds(sweep) for trial in one]
    assert len(trials) == len({(t.arm.id, t.cell, t.index) for t in trials}) == len({t.seed for t in trials})
    counts = Counter((t.arm.id, t.cell) for t in trials)
    assert set(counts) == {(arm.id, cell) for arm in grid for cell in arm.cells}
    assert all(count >= repeats * starts for count in counts.values())


def test_where_not_all_fit_groups_share_the_first_arm_that_has_all_cells() -> None:
    """One without prefix caching has no warm cells: those of the others would have nothing in common."""
    sweep = spec(block_size=(16, 32, 64))
    grid = arms(sweep, {})
    every = passes(sweep, grid, alive=3)
    assert len(every) == 6 and all(len(each.arms) <= 3 and each.interleaved for each in every)
    reference = next(arm for arm in grid if len(arm.cells) == 6)
    assert reference is not grid[0] and all(each.arms[0] is reference for each in every)
    for start in (every[:3], every[3:]):
        others = [arm.id for each in start for arm in each.arms[1:]]
        assert sorted(others) == sorted(arm.id for arm in grid if arm is not reference)


def test_one_engine_at_a_time_every_second_pass_is_reversed() -> None:
    sweep = spec(starts=3)
    grid = arms(sweep, {})
    first, second, third = passes(sweep, grid, alive=1)
    assert sorted(arm.id for arm in first.arms) == sorted(arm.id for arm in grid)
    assert (second.arms, third.arms) == (first.arms[::-1], first.arms)
    assert not first.interleaved


@pytest.mark.parametrize("alive", [1, 4])
def test_a_single_arm_has_no_turns_to_take(alive: int) -> None:
    sweep = spec(block_size=(16,), prefix_caching=("off",))
    assert [each.interleaved for each in passes(sweep, arms(sweep, {}), alive)] == [False, False]
