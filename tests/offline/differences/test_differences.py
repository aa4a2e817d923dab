"""The arithmetic of differences: literal runs, and what must hold whatever the figures are."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from offline.differences.analysis import estimate
from offline.differences.between import between
from offline.differences.difference import Difference, difference_frame, verdict
from offline.differences.effort import Spread, spread, trials_a_start
from offline.differences.estimates import Estimates
from offline.differences.leastsquares import fit
from offline.differences.observations import Observations
from offline.differences.simultaneous import bonferroni, multivariate_t
from offline.differences.twogroups import two_groups
from offline.differences.within import within
from tests.offline.differences.simulatedruns import Setting, simulate

COLUMNS = ["arm", "engine", "group", "round", "block_size", "batch_size", "cache_state"]


def two_arms(values: list[list[float]], arm: tuple[int, ...] = (0, 1, 0, 1)) -> Observations:
    """Starts (rows) of two arms, one cell, all alive together; the columns are rounds."""
    logs = np.log(np.array(values))[:, :, None]
    arms = ({"block_size": 32}, {"block_size": 64})
    return Observations(logs, np.array(arm), np.zeros(len(arm), dtype=int), arms, ({"batch_size": 1},), (1, 2, 3, 4))


def only(estimates: Estimates | None) -> tuple[float, float, float]:
    """Ratio, standard error and degrees of freedom of the one contrast."""
    assert estimates is not None and len(estimates.contrasts) == 1
    figures = (estimates.log_ratio, estimates.standard_error, estimates.degrees)
    ratio, error, degrees = (float(figure[0]) for figure in figures)
    return math.exp(ratio), error, degrees


def test_starts_are_the_replicates() -> None:
    """Starts of 100, 102 and 110, 112.2: each arm's two starts differ by 2 %, the arms by 10 %."""
    ratio, error, degrees = only(between(two_arms([[100.0], [110.0], [102.0], [112.2]]), 0.05))
    deviation = math.log(1.02) / math.sqrt(2)  # of two starts
    assert (ratio, error, degrees) == pytest.approx((1.1, deviation, 2.0))


def test_a_single_pair_has_students_critical_value() -> None:
    estimates = between(two_arms([[100.0], [110.0], [102.0], [112.2]]), 0.05)
    assert estimates is not None
    assert estimates.critical[0] == pytest.approx(t.ppf(0.975, 2), rel=0.01)


def test_more_trials_of_the_same_starts_are_no_more_replicates() -> None:
    once = only(between(two_arms([[100.0], [110.0], [102.0], [112.2]]), 0.05))
    often = only(between(two_arms([[100.0] * 9, [110.0] * 9, [102.0] * 9, [112.2] * 9]), 0.05))
    assert often == pytest.approx(once)


def test_trials_widen_an_interval_even_where_starts_agree_by_chance() -> None:
    """Both starts of an arm have the same mean, of trials that scatter by 10 %."""
    _, error, _ = only(between(two_arms([[90.0, 110.0], [110.0, 90.0], [110.0, 90.0], [90.0, 110.0]]), 0.05))
    assert error > 0.05


def test_one_start_an_arm_tells_nothing() -> None:
    assert between(two_arms([[100.0, 101.0], [110.0, 111.0]], arm=(0, 1)), 0.05) is None


def test_an_arm_of_four_starts_that_scatters_more_has_a_variance_of_its_own() -> None:
    """The other arm keeps the pooled one, and so do both where they have three starts each."""
    calm, wild = [100.0, 101.0, 102.0, 101.0], [80.0, 125.0, 90.0, 110.0]
    own, others = (float(np.log(values).var(ddof=1)) for values in (wild, calm))
    pooled = (own + others) / 2
    _, error, degrees = only(between(two_arms([[each] for each in calm + wild], arm=(0,) * 4 + (1,) * 4), 0.05))
    variance = own / 4 + pooled / 4
    freedom = variance**2 / ((own / 4) ** 2 / 3 + (pooled / 4) ** 2 / 6)  # Satterthwaite
    assert (error, degrees) == pytest.approx((math.sqrt(variance), freedom))
    _, error, degrees = only(between(two_arms([[each] for each in calm[:3] + wild[:3]], arm=(0,) * 3 + (1,) * 3), 0.05))
    pooled = (float(np.log(wild[:3]).var(ddof=1)) + float(np.log(calm[:3]).var(ddof=1))) / 2
    assert (error, degrees) == pytest.approx((math.sqrt(2 * pooled / 3), 4.0))


def test_groups_take_the_machine_out() -> None:
    """The machine was twice as slow while the second group ran."""
    measured = two_arms([[100.0], [110.0], [51.0], [56.1]])
    apart = replace(measured, group=np.array([0, 0, 1, 1]))
    ratio, error, degrees = only(between(apart, 0.05))
    assert ratio == pytest.approx(1.1) and error == pytest.approx(0.0, abs=1e-9) and degrees == 1.0


def test_degrees_of_freedom_are_starts_less_arms_less_groups_plus_one() -> None:
    whole = simulate(Setting(0.01, 0.01), 1, 1)
    estimates = between(replace(whole, logs=whole.logs[0]), 0.05)
    assert estimates is not None and set(estimates.degrees) == {12 - 6 - 2 + 1}


def test_arms_that_no_group_connects_are_not_compared() -> None:
    apart = replace(two_arms([[100.0], [110.0], [102.0], [112.2]]), group=np.array([0, 1, 0, 1]))
    assert between(apart, 0.05) is None


def test_a_missing_trial_takes_its_round_out_of_the_comparison_only() -> None:
    """The third round was twice as fast, and one start has no trial in it."""
    values = [[100.0, 100.0, 200.0], [110.0, 110.0, 220.0], [100.0, 100.0, math.nan], [110.0, 110.0, 220.0]]
    ratio, _, _ = only(between(two_arms(values), 0.05))
    assert ratio == pytest.approx(1.1)


def test_a_difference_inside_starts_leaves_the_starts_out() -> None:
    """Starts differ by 50 %, and in each one batch 4 is twice as fast as batch 1."""
    starts, noise = np.array([100.0, 150.0, 120.0, 90.0]), np.array([[1.0, 1.01], [1.01, 1.0], [1.0, 1.0], [1.0, 1.01]])
    logs = np.log(np.stack([starts[:, None] * noise, 2 * starts[:, None] / noise], axis=-1))
    cells = ({"batch_size": 1}, {"batch_size": 4})
    measured = replace(two_arms([[1.0]] * 4), logs=logs, cells=cells)
    ratio, error, _ = only(within(measured, 0.05))
    assert ratio == pytest.approx(2.0, rel=0.01) and error < 0.01


def test_cells_that_share_no_round_of_a_start_are_not_compared() -> None:
    """A run that was killed between two cells of a round, and continued with a new start, over and over."""
    logs = np.array([[[0.0, math.nan], [math.nan, 1.0]]] * 4)
    measured = replace(two_arms([[1.0]] * 4), logs=logs, cells=({"batch_size": 1}, {"batch_size": 4}))
    assert within(measured, 0.05) is None


def test_a_start_that_was_interrupted_has_not_all_cells_and_splits_no_main_effect() -> None:
    cells = tuple({"batch_size": batch, "output_len": length} for batch in (1, 4) for length in (4, 8))
    logs = np.log(np.random.default_rng(1).normal(100, 1, size=(5, 2, 4)))
    logs[4, :, 2:] = math.nan
    arms, arm, group = ({"block_size": 32}, {"block_size": 64}), np.array([0, 1, 0, 1, 0]), np.array([0, 0, 1, 1, 2])
    estimates = within(Observations(logs, arm, group, arms, cells, (1, 2, 3, 4, 5)), 0.05)
    assert estimates is not None
    assert [(each.axis, each.cell) for each in estimates.contrasts if each.main] == [
        ("batch_size", "all"),
        ("output_len", "all"),
    ]


def test_main_effects_come_first_and_warm_cells_are_apart() -> None:
    whole = simulate(Setting(0.01, 0.01), 1, 1)
    estimates = estimate(replace(whole, logs=whole.logs[0]))
    assert estimates is not None
    main = [(each.axis, each.before, each.after, each.cell) for each in estimates.contrasts if each.main]
    cold = [("block_size", a, b, "cache_state=cold") for a, b in (("32", "64"), ("32", "128"), ("64", "128"))]
    assert main[:4] == [*cold, ("prefix_caching", "off", "on", "cache_state=cold")]
    assert ("block_size", "64", "128", "cache_state=warm") in main and ("cache_state", "cold", "warm", "all") in main
    single = [each for each in estimates.contrasts if each.axis == "block_size" and not each.main]
    assert ("32", "64", "batch_size=4 cache_state=warm prefix_caching=on") in [
        (e.before, e.after, e.cell) for e in single
    ]
    assert sum(len(each.axis.split("+")) == 2 for each in estimates.contrasts) == 4 * 6  # both axes differ


def test_the_multivariate_t_lies_between_one_pair_and_bonferroni() -> None:
    one, pairs = np.eye(1), np.array([[1.0, 0.5, -0.5], [0.5, 1.0, 0.5], [-0.5, 0.5, 1.0]])
    single, all_pairs = multivariate_t([one], 5, 0.05), multivariate_t([pairs], 5, 0.05)
    assert single == pytest.approx(2.571, abs=0.02)
    assert all_pairs == pytest.approx(4.602 / math.sqrt(2), abs=0.02)  # Tukey's studentized range, 3 means, 5 df
    assert all_pairs < float(bonferroni(3, np.array(5.0), 0.05))


def test_the_smallest_detectable_difference_of_one_pair() -> None:
    """With many degrees of freedom it is the familiar (1.96 + 0.84) standard errors."""
    one = np.array([0.01])
    estimates = Estimates((), one, one, np.array([1e5]), np.array([1.96]))
    assert estimates.smallest_detectable()[0] == pytest.approx(0.01 * (1.96 + 0.8416), rel=0.01)


@pytest.mark.parametrize(
    ("lo", "hi", "more_is_faster", "words"),
    [
        (1.02, 1.10, True, "faster"),
        (1.02, 1.10, False, "slower"),
        (0.80, 0.95, True, "slower"),
        (0.80, 0.95, False, "faster"),
        (0.95, 1.02, True, "no difference seen"),
    ],
)
def test_verdicts(lo: float, hi: float, more_is_faster: bool, words: str) -> None:
    assert verdict(lo, hi, more_is_faster) == words


def test_trials_a_start_follow_costs_and_variances() -> None:
    assert trials_a_start(40.0, 10.0, Spread(start=0.01, trial=0.02)) == 4
    assert trials_a_start(40.0, 10.0, Spread(start=0.0, trial=0.02)) == 20
    assert trials_a_start(40.0, 10.0, Spread(start=0.1, trial=0.001)) == 2


def test_the_spread_of_starts_and_of_trials() -> None:
    whole = simulate(Setting(0.03, 0.01, starts=20, rounds=4, groups=1), 1, 3)
    measured = spread(replace(whole, logs=whole.logs[0]))
    assert measured.start == pytest.approx(0.03, rel=0.15) and measured.trial == pytest.approx(0.01, rel=0.05)


def test_two_groups_of_starts_are_named() -> None:
    speeds = [26.0, 33.1, 26.1, 25.9, 33.0, 26.2]
    logs = np.log(np.array(speeds))[:, None, None]
    measured = Observations(
        logs, np.zeros(6, dtype=int), np.zeros(6, dtype=int), ({"seed": 0},), ({},), tuple("abcdef")
    )
    (split,) = two_groups(measured)
    assert split.lower == ("a", "c", "d", "f") and split.upper == ("b", "e")
    assert split.gap == pytest.approx(1.27, abs=0.01)
    assert "seed=0: two groups of starts, 27% apart" in split.sentence()
    five = replace(measured, logs=logs[:5], arm=measured.arm[:5], group=measured.group[:5], starts=tuple("abcde"))
    assert two_groups(five) == []


def test_the_columns_of_the_file() -> None:
    row = Difference("block_size", "32", "64", "all", "output_tok_s", 1.1, 1.05, 1.15, 1.03, "faster")
    text = difference_frame([row]).to_csv(index=False)
    assert text.splitlines() == [
        "axis,from,to,cell,metric,ratio,lo,hi,smallest_detectable,verdict",
        "block_size,32,64,all,output_tok_s,1.1,1.05,1.15,1.03,faster",
    ]


@pytest.mark.parametrize(
    ("lo", "hi", "detectable", "interval", "sentence"),
    [
        (0.97, 1.03, 1.03, "0.970 to 1.030", "no difference seen (could have found 3.0%)"),
        (0.27, 99.7, 66.3, "0.270 to 99.700", "no difference seen (could have found a factor of 66.3)"),
        (3e-8, 8.5e7, 2.25e11, "<0.01 to >100", "no difference seen (could have found a factor of over 100)"),
    ],
)
def test_what_tells_nothing_is_shown_without_figures(
    lo: float, hi: float, detectable: float, interval: str, sentence: str
) -> None:
    row = Difference("batch_size", "1", "4", "all", "output_tok_s", 1.7, lo, hi, detectable, "no difference seen")
    assert (row.interval, row.sentence) == (interval, sentence)


seeds = st.integers(0, 2**32 - 1)


def drawn(seed: int) -> Observations:
    """One simulated run with differences of all kinds."""
    rng = np.random.default_rng(seed)
    whole = simulate(Setting(0.02, 0.02, block_sizes=(32, 64), batch_sizes=(1, 4)), 1, seed)
    return replace(
        whole,
        logs=whole.logs[0] + rng.normal(0, 0.1, len(whole.cells)) + rng.normal(0, 0.1, 4)[whole.arm][:, None, None],
    )


@settings(max_examples=20, deadline=None)
@given(seeds, st.floats(1e-6, 1e6))
def test_a_unit_changes_no_ratio(seed: int, scale: float) -> None:
    measured = drawn(seed)
    before, after = estimate(measured), estimate(replace(measured, logs=measured.logs + math.log(scale)))
    assert before is not None and after is not None
    for name in ("log_ratio", "standard_error", "critical"):
        np.testing.assert_allclose(getattr(before, name), getattr(after, name), rtol=1e-5, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_drift_that_is_common_to_a_round_changes_no_difference_between_arms(seed: int) -> None:
    measured = drawn(seed)
    drift = np.random.default_rng(seed).normal(0, 0.5, (2, *measured.logs.shape[-2:]))[measured.group]
    before, after = between(measured, 0.05), between(replace(measured, logs=measured.logs + drift), 0.05)
    assert before is not None and after is not None
    for name in ("log_ratio", "standard_error", "critical"):
        np.testing.assert_allclose(getattr(before, name), getattr(after, name), rtol=1e-6, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_arms_the_other_way_round_have_the_reciprocal_ratio(seed: int) -> None:
    rng = np.random.default_rng(seed)
    measured = two_arms(np.exp(rng.normal(0, 0.05, (4, 3))).tolist())
    swapped = replace(measured, arm=1 - measured.arm)
    (ratio, *rest), (other, *others) = only(between(measured, 0.05)), only(between(swapped, 0.05))
    assert ratio * other == pytest.approx(1.0) and rest == pytest.approx(others)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_a_balanced_fit_is_that_of_plain_means(seed: int) -> None:
    logs = np.random.default_rng(seed).normal(0, 0.1, (6, 4))
    found = fit(logs, np.array([0, 1, 2] * 2), np.array([0] * 3 + [1] * 3), 3)
    means = logs.mean(axis=1).reshape(2, 3).mean(axis=0)
    np.testing.assert_allclose(np.diff(found.effects), np.diff(means), atol=1e-9)
