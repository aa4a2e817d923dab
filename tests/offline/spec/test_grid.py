"""Which engines and cells a spec makes, in what order its trials run, and from which prompts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.spec.grid import Arm, Cell, arms, seed_of
from offline.spec.prompts import workload
from offline.spec.spec import Spec

BASE = {"model": "m", "dtype": "float32"}


def spec(**changes: Any) -> Spec:
    """Two block sizes, caching off and on, batches of 1 and 4; prompts of 8 tokens, 5 of them shared."""
    lengths = {"input_len": (8,), "output_len": (2,), "shared_prefix_len": (5,)}
    return Spec(**{"batch_size": (1, 4), "block_size": (16, 32), **lengths} | changes)


def cell(batch_size: int, cache_state: str) -> Cell:
    return Cell(batch_size, cache_state, input_len=8, output_len=2, shared_prefix_len=5)


def test_warm_cells_exist_only_where_there_is_a_cache() -> None:
    off = (cell(1, "cold"), cell(4, "cold"))
    on = (cell(1, "cold"), cell(1, "warm"), cell(4, "cold"), cell(4, "warm"))
    axes = ("block_size", "enable_prefix_caching")
    assert arms(spec(), BASE) == [
        Arm({**BASE, "block_size": 16, "enable_prefix_caching": False}, axes, off),
        Arm({**BASE, "block_size": 16, "enable_prefix_caching": True}, axes, on),
        Arm({**BASE, "block_size": 32, "enable_prefix_caching": False}, axes, off),
        Arm({**BASE, "block_size": 32, "enable_prefix_caching": True}, axes, on),
    ]
    assert arms(spec(prefix_caching=("off",), cache_state=("warm",)), BASE) == []


def test_lists_of_lengths_are_axes_of_cells() -> None:
    lengths: dict[str, Any] = {"input_len": (8, 64), "output_len": (1, 2), "shared_prefix_len": (0, 5)}
    [arm] = arms(spec(batch_size=(4,), block_size=(16,), prefix_caching=("off",), **lengths), BASE)
    assert [(each.input_len, each.output_len, each.shared_prefix_len) for each in arm.cells] == [
        *((8, 1, 0), (8, 1, 5), (8, 2, 0), (8, 2, 5)),
        *((64, 1, 0), (64, 1, 5), (64, 2, 0), (64, 2, 5)),
    ]


def test_temperatures_are_an_axis_of_cells_and_greedy_ones_keep_their_ids() -> None:
    [arm] = arms(spec(batch_size=(4,), block_size=(16,), prefix_caching=("off",), temperature=(0.0, 0.8)), BASE)
    greedy, sampled = arm.cells
    assert (greedy, sampled.temperature) == (cell(4, "cold"), 0.8)
    assert (arm.cell_id(greedy), arm.cell_id(sampled)) == ("de4c9ee3d847", "9ad2b59dde02")


def test_an_engine_argument_is_a_constant_or_an_axis_and_wins_over_the_base() -> None:
    grid = arms(spec(block_size=(16,), prefix_caching=("on",), engine={"dtype": ["auto"], "seed": [1, 2]}), BASE)
    assert [arm.settings for arm in grid] == [
        {"model": "m", "dtype": "auto", "block_size": 16, "enable_prefix_caching": True, "seed": 1},
        {"model": "m", "dtype": "auto", "block_size": 16, "enable_prefix_caching": True, "seed": 2},
    ]
    assert [arm.name for arm in grid] == [
        "block_size=16 prefix_caching=on seed=1",
        "block_size=16 prefix_caching=on seed=2",
    ]


SETTINGS = st.dictionaries(
    st.sampled_from(["dtype", "seed", "block_size", "speculative_config"]),
    st.one_of(st.booleans(), st.integers(0, 3), st.sampled_from(["1", "true", ""]), st.none(), st.just({"k": [1]})),
    max_size=3,
)


@given(SETTINGS, SETTINGS)
def test_ids_agree_only_for_the_same_settings(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = {key: repr(value) for key, value in one.items()} == {key: repr(value) for key, value in other.items()}
    assert (Arm(one, (), ()).id == Arm(other, (), ()).id) == same
    assert (Arm(one, (), ()).cell_id(cell(1, "cold")) == Arm(other, (), ()).cell_id(cell(1, "cold"))) == same


@given(SETTINGS)
def test_ids_do_not_depend_on_the_order_of_the_settings(settings: dict[str, Any]) -> None:
    turned = dict(reversed(settings.items()))
    assert Arm(settings, (), ()).id == Arm(turned, (), ()).id
    assert Arm(settings, (), ()).cell_id(cell(1, "cold")) == Arm(turned, (), ()).cell_id(cell(1, "cold"))


@pytest.mark.parametrize("place", range(6))
def test_cell_ids_differ_with_every_part(place: int) -> None:
    values: list[Any] = [1, "cold", 8, 2, 5, 0.5]
    other = values.copy()
    other[place] = "warm" if place == 1 else 7
    arm = Arm(BASE, (), ())
    assert arm.cell_id(Cell(*values)) != arm.cell_id(Cell(*other))


def test_seeds_never_change() -> None:
    """A resumed run, on whatever machine and version, measures the prompts that it would have measured."""
    arm = arms(spec(), BASE)[0]
    seeds = [seed_of(spec(), arm, arm.cells[0], index) for index in (0, 1, -1)]
    assert arm.id == "fd756cd3a7a1"
    assert seeds == [1713638117341475052, 4065493111022333556, 7655684421372421022]
    assert seed_of(spec(seed=1), arm, arm.cells[0], 0) == 1996558724681416999
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_prompts_share_a_prefix_and_nothing_else() -> None:
    work = workload(cell(4, "warm"), 7, 50_000)
    assert work.primer is not None
    everyone = [*work.prompts, work.primer]
    assert [len(prompt) for prompt in everyone] == [8] * 5
    assert len({tuple(prompt[:5]) for prompt in everyone}) == 1
    assert len({prompt[5] for prompt in everyone}) == 5  # so that not even a block of one token is found beyond
    assert all(1000 <= token < 50_000 for prompt in everyone for token in prompt)
    assert workload(cell(4, "cold"), 7, 50_000).primer is None


def test_the_same_seed_makes_the_same_prompts() -> None:
    work = workload(cell(2, "warm"), 7, 50_000)
    assert work == workload(cell(2, "warm"), 7, 50_000)
    assert work.prompts == [
        [47300, 31629, 34524, 44963, 29336, 3721, 15708, 14968],
        [47300, 31629, 34524, 44963, 29336, 43804, 45718, 1257],
    ]
    assert work.primer == [47300, 31629, 34524, 44963, 29336, 39008, 41848, 12035]
    assert work.prompts[0][:5] != workload(cell(2, "warm"), 8, 50_000).prompts[0][:5]


@given(st.integers(1, 9), st.integers(0, 20), st.integers(1, 20), st.integers(0, 2**63 - 1), st.integers(2, 60_000))
def test_prompts_have_the_lengths_asked_and_ids_of_the_vocabulary(
    batch_size: int, shared: int, rest: int, seed: int, vocabulary: int
) -> None:
    work = workload(Cell(batch_size, "cold", shared + rest, 1, shared), seed, vocabulary)
    assert [len(prompt) for prompt in work.prompts] == [shared + rest] * batch_size
    assert len({tuple(prompt[:shared]) for prompt in work.prompts}) == 1
    assert all(type(token) is int and 0 <= token < vocabulary for prompt in work.prompts for token in prompt)
