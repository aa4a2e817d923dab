"""The time left of a sweep: engines that are still to start count apart from trials that are still to run."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from offline.grid import Arm, Cell, Trial
from offline.plan import minutes
from offline.progress import SweepProgress

CELL = Cell(1, "cold", input_len=8, output_len=2, shared_prefix_len=0)
ARM = Arm({}, (), (CELL,))
READY = {"import_ns": [0, 0], "start_ns": [0, 10**9]}


def steady(start_s: float, trial_s: float, groups: int, together: int, trials: int) -> Iterator[tuple[str, str]]:
    """What is said to be left and what truly is, after every trial of a sweep whose pace never changes."""
    now_s, engines = 1000.0, groups * together
    whole_s = groups * start_s + engines * trials * trial_s
    with patch.object(time, "monotonic", lambda: now_s):
        shown = SweepProgress(engines * trials, 0, engines, estimate_s=7.0, out=Console(file=io.StringIO()))
        for _ in range(groups):
            for _ in range(together):
                shown.arm(ARM, trials)
            now_s += start_s
            for _ in range(together):
                shown.ready(ARM, READY)
                for index in range(trials):
                    now_s += trial_s
                    shown.trial(Trial(ARM, CELL, index, seed=0), tok_s=1.0)
                    yield shown.left(), f"{minutes(whole_s - (now_s - 1000))} left"


@given(st.integers(0, 300), st.integers(1, 60), st.integers(1, 5), st.integers(1, 3), st.integers(1, 6))
def test_at_a_steady_pace_it_is_right_after_a_tenth(
    start_s: int, trial_s: int, groups: int, together: int, trials: int
) -> None:
    said = list(steady(start_s, trial_s, groups, together, trials))
    assert all(left == true for left, true in said[len(said) // 10 + 1 :])


def test_the_estimate_holds_until_then() -> None:
    assert [left for left, _ in steady(1, 1, 1, 1, 20)][:3] == ["7 s left", "6 s left", "17 s left"]


def test_on_a_terminal_it_is_one_line_and_elsewhere_a_line_a_trial() -> None:
    for terminal, lines in ((True, 0), (False, 1)):
        out = io.StringIO()
        shown = SweepProgress(2, 0, 1, 60.0, Console(file=out, force_terminal=terminal))
        shown.trial(Trial(ARM, CELL, 0, seed=0), tok_s=12.34)
        assert out.getvalue().count("  1/2  batch 1 cold: 12.3 tok/s, ") == lines


@pytest.mark.parametrize("done", [0, 4])
def test_a_run_that_is_all_done_has_nothing_left(done: int) -> None:
    assert SweepProgress(done, done, 0, 60.0, Console(file=io.StringIO())).left() == "0 s left"
