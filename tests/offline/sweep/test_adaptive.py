"""When an adaptive run adds a group, when more rounds of it, and when it stops."""

from __future__ import annotations

import io
import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from rich.console import Console

from offline.differences.effort import Spread
from offline.records.lines import record_of
from offline.records.runfolder import RunFolder
from offline.spec.effort import Effort
from offline.spec.grid import Arm, Trial, arms
from offline.spec.models import Models
from offline.spec.passes import Pass, one_pass
from offline.spec.plan import Plan
from offline.spec.spec import Spec
from offline.sweep import adaptive
from offline.sweep.adaptive import AdaptiveRun
from offline.sweep.group import Group, LiveEngine
from offline.sweep.progress import SweepProgress
from offline.sweep.runner import Runner, Taken
from tests.offline.armrecords import trial
from tests.offline.differences.simulatedruns import Setting, simulate
from tests.offline.runs import a_run

SPEC = Spec(batch_size=(1,), block_size=(32, 64), prefix_caching=("off",), input_len=(8,), output_len=(2,))
SPEC = replace(SPEC, repeats=2, starts=2)
GRID = arms(SPEC.from_dict({**SPEC.as_dict(), "shared_prefix_len": 4}), {})


class Measured:
    """A runner that measures nothing: an engine takes 5 s to start, a trial half a second, on a clock of its own.

    So a group of both arms takes 10 s to start, and a round of it 1 s.
    """

    plan = Plan(SPEC, GRID, alive=2, seconds=0.0)

    def __init__(self) -> None:
        self.now_s, self.groups, self.started = 0.0, list[int](), list[set[str]]()
        self.starts, self.trials = Taken(5.0, 1), Taken(0.5, 1)
        self.given_up, self.folder = set[str](), Mock(read_run=a_run)

    def with_reference(self, each: Pass) -> Pass:
        return each

    def next_pass(self) -> int:
        return len(self.plan.passes()) + sum(self.groups)

    def todo(self, each: Pass) -> list[Trial]:
        return [trial for one in each.rounds(SPEC) for trial in one]

    def traces(self, each: Pass) -> list[Trial]:
        return []

    def run_group(self, passes: Iterator[Pass], progress: SweepProgress) -> None:
        first = next(passes)
        self.starts, self.trials = Taken(5.0 * len(first.arms), len(first.arms)), Taken()
        self.started.append({arm.name for arm in first.arms})
        self.now_s += self.starts.seconds
        self.groups.append(0)
        for each in itertools.chain([first], passes):
            trials = len(self.todo(each))
            self.trials.add(0.5 * trials, trials)
            self.now_s, self.groups[-1] = self.now_s + 0.5 * trials, self.groups[-1] + 1


def caching(*block_sizes: int) -> list[Arm]:
    """Arms of each block size with prefix caching off (a cold cell) and on (a cold and a warm one)."""
    changes = {"block_size": block_sizes, "prefix_caching": ("off", "on"), "shared_prefix_len": 4}
    return arms(SPEC.from_dict({**SPEC.as_dict(), **changes}), {})


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Any:
    measured = Measured()
    monkeypatch.setattr(time, "monotonic", lambda: measured.now_s)
    return measured


def extended(
    runner: Any,
    effort: Effort,
    widths: list[float],
    found: Spread,
    monkeypatch: pytest.MonkeyPatch,
    only_warm: tuple[bool, ...] = (),
) -> str:
    """How a run ends whose widest main effect is each of `widths` in turn, the last one from then on.

    `only_warm`: whether it is of warm cells alone, each time that this is asked; then it is not.
    """
    left, warm = iter(widths), iter(only_warm)
    monkeypatch.setattr(AdaptiveRun, "observations", lambda self: True)
    monkeypatch.setattr(adaptive, "only_warm", lambda *_: next(warm, False))
    monkeypatch.setattr(adaptive, "widest_main", lambda _: next(left, widths[-1]))
    monkeypatch.setattr(adaptive, "spread", lambda _: found)
    with SweepProgress(1, 0, 0, 0.0, Console(file=io.StringIO())) as progress:
        return AdaptiveRun(runner, effort, began=0.0).extend(progress)


def test_narrow_enough_as_planned(runner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    end = extended(runner, Effort(until=0.03), [0.021], Spread(0.01, 0.01), monkeypatch)
    assert (end, runner.groups) == ("widest main effect on output_tok_s: ± 2.1%, within ± 3.0%", [])


def test_starts_that_scatter_get_further_starts(runner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    extended(runner, Effort(until=0.03), [0.09, 0.06, 0.02], Spread(start=0.05, trial=0.01), monkeypatch)
    assert runner.groups == [1, 1]  # trials a start: √10 · 1/5, two at least: one pass of two


def test_trials_that_scatter_get_further_rounds(runner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    extended(runner, Effort(until=0.03), [0.09] * 9 + [0.02], Spread(start=0.01, trial=0.02), monkeypatch)
    assert runner.groups == [3] * len(runner.groups)  # √10 · 2 = 6 rounds: three passes of two


def test_rounds_end_when_they_are_enough(runner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    extended(runner, Effort(until=0.03), [0.09, 0.05, 0.02], Spread(start=0.0, trial=0.02), monkeypatch)
    assert runner.groups == [2]


@pytest.mark.parametrize(("until", "levels"), [(0.03, {"on"}), (0.02, {"off", "on"}), (0.05, {"off", "on"})])
def test_where_warm_cells_alone_are_not_known_well_enough_their_arms_alone_are_started(
    runner: Any, until: float, levels: set[str]
) -> None:
    """Half of the arms have warm cells, so that their main effects have half as many starts: ± 3.9 % against ± 2.4 %.

    With nothing too wide a further start, of which there is none then, would be of all.
    """
    runner.plan = Plan(SPEC, caching(32, 64), alive=4, seconds=0.0)
    runs = simulate(Setting(0.01, 0.01, batch_sizes=(1, 8)), 1, seed=7)
    measured = replace(runs, logs=runs.logs[0])
    chosen = AdaptiveRun(runner, Effort(until=until), began=0.0).arms(measured)
    assert {str(arm.levels["prefix_caching"]) for arm in chosen} == levels and len(chosen) == 2 * len(levels)


def test_the_budget_ends_it(runner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    end = extended(runner, Effort(until=0.03, budget_s=40), [0.09], Spread(start=0.05, trial=0.01), monkeypatch)
    assert runner.groups == [1, 1, 1] and runner.now_s == 36
    assert end == "widest main effect on output_tok_s: ± 9.0%; the budget of 40 s does not hold another start"


def test_the_budget_counts_a_start_of_all_arms_in_full_after_one_of_a_part(
    runner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two engines and 8 trials take 14 s, four and 12 trials 26 s."""
    runner.plan = Plan(SPEC, caching(32, 64), alive=4, seconds=0.0)
    extended(runner, Effort(until=0.03, budget_s=35), [0.09], Spread(0.05, 0.01), monkeypatch, only_warm=(True,))
    assert ([len(each) for each in runner.started], runner.now_s) == ([2], 14)


def test_after_a_start_of_all_arms_one_of_a_part_is_as_cheap_as_it_is(
    runner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.plan = Plan(SPEC, caching(32, 64), alive=4, seconds=0.0)
    warm = (False, True)
    extended(runner, Effort(until=0.03, budget_s=41), [0.09], Spread(0.05, 0.01), monkeypatch, only_warm=warm)
    assert ([len(each) for each in runner.started], runner.now_s) == ([4, 2], 40)


def test_where_not_all_arms_fit_a_start_that_was_begun_is_finished(
    runner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six arms in two groups of four at most: the second has the others, although warm cells alone are too wide then.

    Each group has two passes of rounds.
    """
    runner.plan = Plan(SPEC, caching(32, 64, 128), alive=4, seconds=0.0)
    found, warm = Spread(start=0.01, trial=0.017), (False, True)
    extended(runner, Effort(until=0.03), [0.09] * 6 + [0.02], found, monkeypatch, only_warm=warm)
    first, second, third = runner.started
    assert first | second == {arm.name for arm in runner.plan.grid}
    assert third == {arm.name for arm in runner.plan.grid if len(arm.cells) == 2}
    assert runner.groups == [2, 2, 2]


def test_a_start_that_was_interrupted_is_continued_with_its_pass_and_the_arms_that_did_not_fit(tmp_path: Path) -> None:
    """Three arms, two at a time; of a pass with the first two, five of six trials were measured."""
    grid = arms(replace(SPEC, block_size=(32, 64, 128), batch_size=(1,), shared_prefix_len=(4,), repeats=3), {})
    plan = Plan(replace(SPEC, repeats=3), grid, alive=2, seconds=0.0)
    folder = RunFolder.create(tmp_path, a_run())
    runner = Runner(plan, folder, Models({"m": "m"}), 1.0)
    before = AdaptiveRun(runner, Effort(), began=0.0)
    interrupted = before.next_pass()
    assert interrupted is not None and interrupted.number == len(plan.passes())
    before.write_begun(interrupted)
    *measured, last = runner.todo(interrupted)
    again = Runner(
        plan, folder, Models({"m": "m"}), 1.0, {(each.arm.cell_id(each.cell), each.index) for each in measured}
    )
    run = AdaptiveRun(again, Effort(), began=0.0, begun=folder.read_run().begun)
    assert run.next_pass() == interrupted and again.todo(interrupted) == [last]
    second, third = run.next_pass(), run.next_pass()
    assert second is not None and third is not None
    assert {arm.id for arm in (*interrupted.arms, *second.arms)} == {arm.id for arm in grid}
    assert interrupted.arms[0] == second.arms[0] == third.arms[0]
    folder.close()


def test_a_group_whose_arms_were_all_given_up_ends_no_run(runner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three arms, two at a time: two groups share the first arm, and both arms of the first one fail in it."""
    runner.plan = Plan(SPEC, arms(replace(SPEC, block_size=(32, 64, 128), shared_prefix_len=(4,)), {}), 2, seconds=0.0)
    measure = runner.run_group

    def run_group(passes: Iterator[Pass], progress: SweepProgress) -> None:
        first = next(passes)
        measure(itertools.chain([first], passes), progress)
        runner.given_up = runner.given_up or {arm.id for arm in first.arms}

    monkeypatch.setattr(runner, "run_group", run_group)
    extended(runner, Effort(until=0.03), [0.09, 0.05, 0.04, 0.02], Spread(start=0.05, trial=0.01), monkeypatch)
    first, second, third = runner.started
    assert len(first) == 2 and first | second == {arm.name for arm in runner.plan.grid}
    assert third == second - first


def test_without_an_arm_that_was_not_given_up_it_ends(runner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    runner.given_up = {arm.id for arm in GRID}
    end = extended(runner, Effort(until=0.03), [0.09], Spread(0.05, 0.01), monkeypatch)
    assert end == "widest main effect on output_tok_s: ± 9.0%; no arm is left to measure"


def test_a_recorded_trial_of_each_cell_is_part_of_what_a_start_costs(runner: Any) -> None:
    """Two engines at 5 s, and two recorded trials at half a second; two rounds of two timed ones."""
    run, each = AdaptiveRun(runner, Effort(), began=0.0), one_pass(2, tuple(GRID), alive=2)
    assert run.costs_s(each) == (10.0, 2.0)
    runner.traces = lambda each: each.traced(replace(SPEC, trace=True))
    assert run.costs_s(each) == (11.0, 2.0)


def test_a_resumed_run_does_one_pass_before_it_knows_its_costs(runner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    runner.starts, runner.trials = Taken(), Taken()  # all planned trials were on disk: no engine was started yet
    extended(runner, Effort(until=0.03), [0.09, 0.02], Spread(start=0.01, trial=0.02), monkeypatch)
    assert runner.groups == [1]


def test_one_at_a_time_every_engine_of_a_pass_costs_its_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0

    def start(group: Group, arms: Sequence[Arm], first: int, progress: SweepProgress) -> None:
        nonlocal now_s
        now_s += 10 * len(arms)
        group.engines = {arm.id: LiveEngine(arm, first, None, None, None) for arm in arms}

    def run_trial(runner: Runner, group: Group, engine: LiveEngine, trial: Trial, progress: SweepProgress) -> None:
        nonlocal now_s
        now_s += 1

    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    monkeypatch.setattr("offline.sweep.runner.warm_up", lambda *_: None)
    monkeypatch.setattr(Group, "start", start)
    monkeypatch.setattr(Group, "stop", lambda group: None)
    monkeypatch.setattr(Runner, "run_trial", run_trial)
    runner = Runner(
        Plan(SPEC, GRID, alive=1, seconds=0.0), RunFolder.create(tmp_path, a_run()), Models({"m": "m"}), 1.0
    )
    with SweepProgress(1, 0, 0, 0.0, Console(file=io.StringIO())) as progress:
        runner.run_group(iter(runner.plan.passes()), progress)
    assert runner.starts == Taken(20.0, 2)
    assert runner.trials == Taken(4.0, 4)  # two arms of one cell, two rounds


def test_an_arm_that_was_given_up_is_not_counted_among_what_is_added(tmp_path: Path) -> None:
    plan = Plan(replace(SPEC, trace=True), GRID, alive=2, seconds=0.0)
    folder = RunFolder.create(tmp_path, a_run())
    runner = Runner(plan, folder, Models({"m": "m"}), 1.0, given_up={GRID[0].id})
    with SweepProgress(0, 0, 0, 0.0, Console(file=io.StringIO())) as progress:
        run = AdaptiveRun(runner, Effort(), began=0.0)
        first = run.next_pass()
        assert first is not None
        next(run.chunks(first, progress))
    folder.close()
    assert (progress.total, progress.engines) == (3, 1)  # two timed trials of the other arm's cell and a recorded one


def test_only_new_records_are_read_at_each_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder.create(tmp_path, a_run())
    run = AdaptiveRun(Runner(Plan(SPEC, GRID, alive=2, seconds=0.0), folder, Models({"m": "m"}), 1.0), Effort(), 0.0)
    assert run.width() == math.inf  # nothing was measured: every arm was refused
    reading = Mock(side_effect=record_of)
    monkeypatch.setattr("offline.records.runfolder.record_of", reading)
    arm, cell = GRID[0], GRID[0].cells[0]
    for number in range(3):
        folder.append(replace(trial(cell, number), arm=arm.id, cell=arm.cell_id(cell)))
        observations = run.observations()
        assert observations is not None and observations.logs.size == number + 1
    assert reading.call_count == 3
    folder.close()
