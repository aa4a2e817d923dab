"""False alarms and power of the table, on some hundreds of simulated runs; all of it is tests/bench/differences.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from offline.differences.analysis import estimate
from offline.differences.leastsquares import fit, start_variance
from offline.differences.observations import Levels, Observations
from offline.differences.ownvariance import ALIKE, start_variances
from offline.differences.twogroups import two_groups
from tests.offline.differences.simulatedruns import Outcome, Setting, outcome, simulate, until, until_starts

RUNS = 200
SMALL = Setting(0.01, 0.01, batch_sizes=(1, 8))


def told(setting: Setting) -> Outcome:
    """The outcome of `RUNS` null runs."""
    estimates = estimate(simulate(setting, RUNS, 20260103))
    assert estimates is not None
    return outcome(estimates)


@pytest.mark.parametrize("start_spread", [0.0, 0.03])
@pytest.mark.parametrize("disturbance", [{}, {"drift": "linear"}, {"drift": "step"}, {"stalls": True}])
def test_equal_arms_are_told_apart_in_at_most_one_run_of_twenty(
    start_spread: float, disturbance: dict[str, object]
) -> None:
    assert told(replace(SMALL, start_spread=start_spread, **disturbance)).false_lower_bound <= 0.05


@pytest.mark.parametrize("groups", [4, 1])
def test_an_arm_that_scatters_five_times_as_much_is_told_apart_no_more_often(groups: int) -> None:
    """With one variance for all arms it was in 8 to 10 of 100 runs; equal arms are found as before."""
    four = replace(SMALL, starts=4, groups=groups)
    estimates = estimate(simulate(replace(four, wild=5.0), 2 * RUNS, 20260107))
    assert estimates is not None and outcome(estimates).false_lower_bound <= 0.05
    assert min(told(four).found.values()) >= 0.95


def one_noisy_cell(arms: int, groups: int) -> Observations:
    """Null runs of equal arms, four starts each, whose spread is 3 % in one cell and 0.3 % in seven others."""
    arm, rng = np.tile(np.arange(arms), 4), np.random.default_rng(20260113)
    shape = (2 * RUNS, len(arm), 3, 8)
    spreads = np.array([0.03] + [0.003] * 7)
    logs = rng.normal(0, spreads, (*shape[:2], 1, shape[3])) + rng.normal(0, 0.001, shape)
    group, settings = np.arange(len(arm)) * groups // len(arm), tuple({"block_size": size} for size in range(arms))
    return Observations(logs, arm, group, settings, tuple({"batch_size": size} for size in range(8)))


@pytest.mark.parametrize("groups", [4, 1])
def test_a_noisy_cell_is_no_arm_that_scatters_more(groups: int) -> None:
    measured = one_noisy_cell(2, groups)
    fits = [fit(measured.logs[..., cell], measured.arm, measured.group, arms=2) for cell in range(8)]
    pooled, degrees = start_variance(fits) + fits[0].trial_part, fits[0].start_df
    assert start_variances(fits[0], pooled, degrees).own.mean() <= 1.5 * ALIKE


@pytest.mark.parametrize("groups", [4, 1])
@pytest.mark.parametrize("arms", [2, 6])
def test_a_noisy_cell_of_four_starts_tells_no_more_lies(arms: int, groups: int) -> None:
    """With the variance of all cells, six arms would be told apart there in more than half of the runs."""
    estimates = estimate(one_noisy_cell(arms, groups))
    assert estimates is not None
    runs = len(estimates.log_ratio)
    assert estimates.significant.any(axis=-1).sum() <= 0.05 * runs


@pytest.mark.parametrize("starts", [2, 3])
@pytest.mark.parametrize("times", [3.0, 10.0])
def test_a_noisy_cell_of_fewer_starts_tells_no_more_lies(starts: int, times: float) -> None:
    assert told(replace(SMALL, starts=starts, groups=starts, noisy=times)).false_lower_bound <= 0.05


def test_a_run_that_stops_when_its_intervals_are_narrow_tells_no_more_lies() -> None:
    result, rounds = until(SMALL, RUNS, 20260104, half_width=0.05)
    assert result.false_lower_bound <= 0.05
    assert 2 < rounds < 12  # some runs stop early, and not all do


@pytest.mark.parametrize(("start_spread", "half_width"), [(0.01, 0.03), (0.03, 0.05)])
def test_two_arms_that_add_starts_until_their_intervals_are_narrow_tell_no_more_lies(
    start_spread: float, half_width: float
) -> None:
    setting = replace(SMALL, start_spread=start_spread, starts=8, block_sizes=(32, 64), caching=("off",))
    result, starts = until_starts(setting, 2 * RUNS, 20260115, half_width)
    assert result.false_lower_bound <= 0.05
    assert 2 < starts < 8


@pytest.mark.parametrize("rounds", [(3, 20), (2, 12, 3)])
def test_groups_of_unequal_rounds_as_an_adaptive_run_has_them_tell_no_more_lies(rounds: tuple[int, ...]) -> None:
    setting = replace(SMALL, start_spread=0.03, starts=len(rounds), groups=len(rounds), rounds=max(rounds))
    measured = simulate(setting, RUNS, 20260106)
    for group, count in enumerate(rounds):
        measured.logs[:, measured.group == group, count:] = np.nan
    estimates = estimate(measured)
    assert estimates is not None and outcome(estimates).false_lower_bound <= 0.05


def test_a_third_start_of_the_arms_with_warm_cells_finds_more_there_and_tells_no_more_lies() -> None:
    setting = replace(SMALL, start_spread=0.03, starts=3, groups=3)
    whole = simulate(setting, RUNS, 20260112)
    caching = np.array([whole.arms[arm]["prefix_caching"] == "on" for arm in whole.arm])

    def of_starts(kept: np.ndarray) -> Outcome:
        logs = whole.logs[:, kept]
        estimates = estimate(replace(whole, logs=logs, arm=whole.arm[kept], group=whole.group[kept]))
        assert estimates is not None
        return outcome(estimates)

    two, third = of_starts(whole.group < 2), of_starts((whole.group < 2) | caching)
    assert third.false_lower_bound <= 0.05
    assert third.found["warm cell"] > 1.5 * two.found["warm cell"]


def test_ten_percent_are_found_and_the_smallest_detectable_difference_is_right() -> None:
    result = told(SMALL)
    assert min(result.found.values()) >= 0.8
    assert all(0.8 <= ratio <= 1.2 for ratios in result.detectable.values() for ratio in ratios)


@pytest.mark.parametrize(("blocks", "starts"), [((32, 64), 6), ((32, 64, 128), 4)])
def test_few_arms_that_are_started_more_often_find_ten_percent_and_tell_no_more_lies(
    blocks: tuple[int, ...], starts: int
) -> None:
    """Two arms of two starts have one degree of freedom, and find it in a quarter of the runs."""
    few = replace(SMALL, block_sizes=blocks, caching=("off",))
    twice, planned = (told(replace(few, starts=count, groups=count)) for count in (2, starts))
    assert planned.false_lower_bound <= 0.05
    assert min(planned.found.values()) >= 0.95
    assert twice.found["main effect"] < 0.7


def test_a_state_of_the_start_is_found_and_not_imagined() -> None:
    """Eight starts of one arm with a spread of 1 %; half of the runs have a state that is a fifth faster."""
    rng = np.random.default_rng(20260105)
    found = []
    for gap in [0.0] * 100 + [np.log(1.2)] * 100:
        logs = rng.normal(0, 0.01, (8, 1, 1)) + gap * (rng.permutation(8) < rng.integers(1, 8))[:, None, None]
        zeros = np.zeros(8, dtype=int)
        found.append(bool(two_groups(Observations(logs, zeros, zeros, ({"seed": 0},), ({},), tuple(range(8))))))
    assert sum(found[:100]) <= 10 and sum(found[100:]) >= 80


@pytest.mark.parametrize("disturbance", [{}, {"drift": "linear"}, {"drift": "step"}, {"stalls": True}])
def test_a_machine_that_moves_is_no_state_of_the_start(disturbance: dict[str, object]) -> None:
    """As two arms have six starts by default; with means over cells, a step was taken for a state in 12 of 100 runs."""
    setting = Setting(0.001, 0.01, starts=6, groups=6, block_sizes=(32, 64), caching=("off",))
    runs = simulate(replace(setting, **disturbance), RUNS, 20260114)  # type: ignore[arg-type]
    false = sum(bool(two_groups(replace(runs, logs=logs))) for logs in runs.logs)
    assert Outcome(RUNS, false, {}, {}).false_lower_bound <= 0.05


def test_of_two_arms_either_may_have_the_groups() -> None:
    """Two of six starts of the first arm are a fifth faster; the machine is another one in each group."""
    arm, group = np.tile([0, 1], 6), np.repeat(np.arange(6), 2)
    noise = np.random.default_rng(20260116).normal(0, 0.005, (12, 3, 2))
    logs = 0.1 * group[:, None, None] + np.log(1.2) * np.isin(np.arange(12), (2, 6))[:, None, None] + noise
    cells: tuple[Levels, ...] = ({"batch_size": 1}, {"batch_size": 4})
    splits = two_groups(Observations(logs, arm, group, ({"seed": 0}, {"seed": 1}), cells, tuple(range(12))))
    assert [split.sentence() for split in splits] == [
        "seed=0: two groups of starts, 20% apart: starts 0, 4, 8, 10 and starts 2, 6, or else the other arm's starts "
        "beside them",
        "seed=1: two groups of starts, 20% apart: starts 3, 7 and starts 1, 5, 9, 11, or else the other arm's starts "
        "beside them",
    ]


def test_starts_of_an_only_arm_which_were_alone_are_set_beside_each_other() -> None:
    logs = np.log([[[26.0, 90.0]], [[33.1, 115.0]], [[33.0, 114.0]], [[26.1, 90.5]], [[33.2, 115.5]], [[25.9, 89.8]]])
    zeros, numbers = np.zeros(6, dtype=int), tuple(range(1, 7))
    cells: tuple[Levels, ...] = ({"batch_size": 1}, {"batch_size": 4})
    [split] = two_groups(Observations(logs, zeros, np.arange(6), ({"seed": 0},), cells, numbers))
    assert (split.lower, split.upper, round(split.gap, 2)) == ((1, 4, 6), (2, 3, 5), 1.27)
