"""What a running sweep shows, and the time left: engines still to start count apart from trials still to run."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from offline.spec.estimate import minutes
from offline.spec.grid import Arm, Cell, Trial
from offline.sweep.progress import SweepProgress

CELL = Cell(1, "cold", input_len=8, output_len=2, shared_prefix_len=0)
ARM = Arm({}, (), (CELL,))
Moment = tuple[float, str, str]  # the share of the trials that is done, what is said to be left, what truly is
READY: Any = SimpleNamespace(startup_s=1.0)


def steady(start_s: int, trial_s: int, groups: int, together: int, trials: int, done: int = 0) -> Iterator[Moment]:
    """What is said at every moment of a sweep whose pace never changes, and that goes on where `done` trials were."""
    now_s, engines, ran = 1000.0, groups * together, 0
    whole_s = groups * start_s + engines * trials * trial_s
    with patch.object(time, "monotonic", lambda: now_s):
        total = done + engines * trials
        shown = SweepProgress(total, done, engines, estimate_s=7.0, out=Console(file=io.StringIO()))

        def moment() -> Moment:
            return ran / (engines * trials), shown.left(), f"{minutes(whole_s - (now_s - 1000))} left"

        for _ in range(groups):
            for _ in range(together):
                shown.arm(ARM)
                yield moment()
            now_s += start_s
            for _ in range(together):
                shown.ready(ARM, READY)
                for index in range(trials):
                    now_s, ran = now_s + trial_s, ran + 1
                    shown.trial(Trial(ARM, CELL, index, seed=0), tok_s=1.0)
                    yield moment()


@given(
    *(st.integers(0, 300), st.integers(1, 60), st.integers(1, 5), st.integers(1, 3), st.integers(1, 6)),
    st.integers(0, 50),
)
def test_at_a_steady_pace_it_is_right_after_a_tenth(
    start_s: int, trial_s: int, groups: int, together: int, trials: int, done: int
) -> None:
    moments = list(steady(start_s, trial_s, groups, together, trials, done))
    assert [(said, true) for share, said, true in moments if share > 0.1 and said != true] == []


def test_while_engines_start_their_time_runs_down() -> None:
    with patch.object(time, "monotonic", lambda: now_s):
        now_s = 0.0
        shown = SweepProgress(2, 0, 2, 60.0, Console(file=io.StringIO()))
        shown.arm(ARM)
        now_s = 30.0
        shown.ready(ARM, READY)
        now_s = 40.0
        shown.trial(Trial(ARM, CELL, 0, seed=0), tok_s=1.0)
        shown.arm(ARM)
        texts = [shown.left()]
        now_s = 60.0
        texts.append(shown.left())
        now_s = 90.0
        texts.append(shown.left())
    assert texts == ["40 s left", "20 s left", "10 s left"]  # a late one may come at any moment


def test_what_was_given_up_is_not_waited_for() -> None:
    out = io.StringIO()
    shown = SweepProgress(6, 3, 2, 60.0, Console(file=out))
    shown.given_up("refused: block_size=16: ValueError", trials=3, engines=1)
    assert (shown.total, shown.engines, shown.left()) == (3, 1, "0 s left")
    assert "refused: block_size=16: ValueError" in out.getvalue()


def test_the_estimate_holds_until_then() -> None:
    assert [said for _, said, _ in steady(1, 1, 1, 1, 20)][:4] == ["7 s left", "7 s left", "6 s left", "17 s left"]


def test_engines_that_start_twice_as_slowly_double_the_estimate() -> None:
    with patch.object(time, "monotonic", lambda: now_s):
        now_s = 0.0
        shown = SweepProgress(40, 0, 4, 400.0, Console(file=io.StringIO()), start_s=30.0)
        texts = [shown.left()]
        shown.arm(ARM)
        shown.arm(ARM)
        now_s = 120.0
        shown.ready(ARM, READY)
        shown.ready(ARM, READY)
        texts.append(shown.left())
    assert texts == ["6 min 40 s left", "13 min 20 s left"]


def test_on_a_terminal_it_is_one_line_and_elsewhere_a_line_a_trial() -> None:
    for terminal, lines in ((True, 0), (False, 1)):
        out = io.StringIO()
        shown = SweepProgress(2, 0, 1, 60.0, Console(file=out, force_terminal=terminal))
        shown.trial(Trial(ARM, CELL, 0, seed=0), tok_s=12.34)
        assert out.getvalue().count("  1/2  batch 1 cold: 12.3 tok/s, ") == lines


@pytest.mark.parametrize("done", [0, 4])
def test_a_run_that_is_all_done_has_nothing_left(done: int) -> None:
    assert SweepProgress(done, done, 0, 60.0, Console(file=io.StringIO())).left() == "0 s left"
