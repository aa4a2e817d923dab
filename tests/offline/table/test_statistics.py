"""Means with honest intervals, percentiles with weights, and what the first line says about drift."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.table.statistics import Drift, Figure, drift, mean_interval, percentile

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12)
WEIGHTED = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 30)), min_size=1, max_size=9)


def test_three_trials() -> None:
    figure = mean_interval([1, 2, 3])
    assert figure is not None and figure.lo is not None and figure.hi is not None
    # 4.3027 (Student, two degrees of freedom) x 1 (standard deviation) / sqrt(3)
    assert (figure.mean, round(figure.lo, 3), round(figure.hi, 3), figure.n) == (2, -0.484, 4.484, 3)


def test_one_trial_has_no_interval_and_none_no_figure() -> None:
    assert mean_interval([5.0]) == Figure(5.0, None, None, 1)
    assert mean_interval([]) is None
    assert mean_interval([5.0, 5.0]) == Figure(5.0, 5.0, 5.0, 2)


@given(VALUES)
def test_an_interval_stands_around_its_mean(values: list[float]) -> None:
    figure = mean_interval(values)
    assert figure is not None and figure.lo is not None and figure.hi is not None
    assert figure.lo <= figure.mean <= figure.hi
    assert figure.mean - figure.lo == pytest.approx(figure.hi - figure.mean, abs=1e-6)
    assert figure.mean == pytest.approx(sum(values) / len(values), abs=1e-6)


@given(VALUES, st.floats(0.01, 100), st.floats(-1e4, 1e4))
def test_an_interval_moves_and_grows_with_its_values(values: list[float], scale: float, shift: float) -> None:
    before, after = mean_interval(values), mean_interval([scale * value + shift for value in values])
    assert before is not None and after is not None
    ends = (before.mean, before.lo, before.hi)
    assert (after.mean, after.lo, after.hi) == pytest.approx([scale * (end or 0.0) + shift for end in ends], abs=1e-4)


def test_of_a_hundred_intervals_ninety_five_hold_the_truth() -> None:
    trials = np.random.Generator(np.random.PCG64(1)).normal(10.0, 2.0, (2000, 3))
    held = 0
    for values in trials.tolist():
        figure = mean_interval(values)
        assert figure is not None and figure.lo is not None and figure.hi is not None
        held += figure.lo <= 10.0 <= figure.hi
    assert 0.93 < held / 2000 < 0.97


def test_percentiles_without_weights_are_linear_between_neighbours() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([1.0, 2.0], 0.75) == 1.75
    assert percentile([], 0.5) is None
    assert percentile([], 0.5, []) is None


def test_a_weight_says_how_many_stand_behind_a_value() -> None:
    gaps, requests = [0.030, 0.010], [1.0, 19.0]
    assert [percentile(gaps, share, requests) for share in (0.5, 0.95, 0.96, 1.0)] == [0.010, 0.010, 0.030, 0.030]


@given(WEIGHTED, st.sampled_from([1, 50, 95, 99]))
def test_weights_are_repetitions(weighted: list[tuple[int, int]], percent: int) -> None:
    """The smallest value with `percent` of the written-out list at or below it, counted in whole numbers."""
    everything = sorted(value for value, weight in weighted for _ in range(weight))
    wanted = next(v for place, v in enumerate(everything, 1) if 100 * place >= percent * len(everything))
    values, weights = [float(value) for value, _ in weighted], [float(weight) for _, weight in weighted]
    assert percentile(values, percent / 100, weights) == wanted
    assert percentile([float(value) for value in everything], percent / 100, [1.0] * len(everything)) == wanted


def test_drift_is_the_range_of_the_arms_medians() -> None:
    measured = drift({"a": [0.030, 0.031, 0.029], "b": [0.033, 0.033], "c": []})
    assert measured == Drift(0.031, pytest.approx(0.1), pytest.approx(0.033 / 0.0292 - 1))
    assert drift({}) is None
    assert drift({"a": []}) is None


MOVED = "The reference kernel took 30.0 ms and moved {} between engine starts, 83.0% between single trials"
TRIALS = "(5th to 95th percentile)"


@pytest.mark.parametrize(
    ("measured", "line"),
    [
        (
            Drift(0.030, 0.25, 0.83, in_turns=True),
            "Arms took turns, so that drift falls out of the differences between them. "
            f"{MOVED.format('25.0%')} {TRIALS}.",
        ),
        (
            Drift(0.030, 0.02, 0.83),
            "Arms were measured one after another, with drift within 10%: comparable. "
            f"{MOVED.format('2.0%')} {TRIALS}.",
        ),
        (
            Drift(0.030, 0.25, 0.83),
            "DRIFTED past 10% while arms were measured one after another: no difference between them is claimed; "
            f"run again on a quieter machine. {MOVED.format('25.0%')} {TRIALS}.",
        ),
        (
            Drift(0.030, 0.02, 0.83, one_arm=True),
            f"The reference kernel took 30.0 ms and moved 83.0% between single trials {TRIALS}; "
            "with one arm, drift between arms is not known.",
        ),
        (
            Drift(0.030, 0.02, 0.83, one_arm=True, gpu_note="RuntimeError: CUDA error"),
            f"The reference kernel took 30.0 ms and moved 83.0% between single trials {TRIALS}; "
            "with one arm, drift between arms is not known. GPU drift not measured: RuntimeError: CUDA error.",
        ),
        (
            Drift(0.003, 0.02, 0.05, cpu=Drift(0.064, 0.3, 0.4), gpu_clocks="Compute clock 1,980 MHz."),
            "Arms were measured one after another, with drift within 10%: comparable. The reference kernel on the GPU "
            f"took 3.0 ms and moved 2.0% between engine starts, 5.0% between single trials {TRIALS}. "
            "Compute clock 1,980 MHz. "
            "On the CPU beside it: 64.0 ms, moved 30.0% between engine starts, 40.0% between single trials.",
        ),
    ],
)
def test_the_first_line_of_a_table(measured: Drift, line: str) -> None:
    assert measured.sentence() == line


def test_arms_are_compared_up_to_the_bound() -> None:
    assert Drift(0.030, 0.10, 0.04).inside and not Drift(0.030, 0.11, 0.04).inside
