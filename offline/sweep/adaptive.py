"""An adaptive run: further starts and rounds until the differences are known well enough, or the time is used.

The rule looks at the widths of intervals and at no difference, so that stopping by it costs no error.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import InitVar, dataclass, field, replace

import pandas as pd

from offline.differences.effort import WARM, only_warm, spread, trials_a_start, widest_main
from offline.differences.observations import Observations, observations
from offline.differences.run import HEADLINE
from offline.spec.effort import Effort
from offline.spec.estimate import minutes
from offline.spec.grid import Arm
from offline.spec.passes import BegunStart, Pass, one_pass, start_of_each
from offline.sweep.progress import SweepProgress
from offline.sweep.runner import Runner, arms_of
from offline.table.frames import axis_columns, run_frames


@dataclass
class AdaptiveRun:
    """A run that was measured as planned, and goes on from there."""

    runner: Runner
    effort: Effort
    began: float  # of the whole run, by time.monotonic
    begun: InitVar[BegunStart | None] = None  # of a run that is continued
    interrupted: Pass | None = field(init=False, default=None)  # of a start that was begun
    left: list[tuple[Arm, ...]] = field(init=False, default_factory=list)  # of that start, where not all arms fit
    trials: list[pd.DataFrame] = field(default_factory=list)  # those that were read so far

    def __post_init__(self, begun: BegunStart | None) -> None:
        if begun:
            by_id, alive = {arm.id: arm for arm in self.runner.plan.grid}, self.runner.plan.alive
            first, *self.left = (tuple(by_id[arm] for arm in arms) for arms in begun.sets)
            self.interrupted = one_pass(begun.number, first, alive)

    def extend(self, progress: SweepProgress) -> str:
        """Add groups of starts, each with as many rounds as are worth their cost; why it ended, in words."""
        while (width := self.width()) > self.effort.until:
            first = self.next_pass()
            if first is None:
                return f"{self._words(width)}; no arm is left to measure"
            if not self.affords(sum(self.costs_s(first))):
                return (
                    f"{self._words(width)}; the budget of {minutes(self.effort.budget_s)} does not hold another start"
                )
            self.write_begun(first)
            self.runner.run_group(self.chunks(first, progress), progress)
        return f"{self._words(width)}, within ± {self.effort.until:.1%}"

    def next_pass(self) -> Pass | None:
        """The first pass of one more group: a start that was begun is finished before other arms are chosen.

        What an interrupted pass still lacks comes first. None where every arm was given up.
        """
        plan, number = self.runner.plan, self.runner.next_pass()
        first, self.interrupted = self.interrupted, None
        if first and (self.runner.todo(first) or self.runner.traces(first)):
            return first
        self.left = self.kept(self.left) or self.kept(
            start_of_each(plan.spec, self.arms(self.with_costs()), plan.alive, number)
        )
        return self.runner.with_reference(one_pass(number, self.left.pop(0), plan.alive)) if self.left else None

    def write_begun(self, first: Pass) -> None:
        """Have the start that is at work in `run.json`, so that it can be continued."""
        sets = (first.arms, *self.left)
        begun = BegunStart(first.number, tuple(tuple(arm.id for arm in arms) for arms in sets))
        folder = self.runner.folder
        folder.write_run(replace(folder.read_run(), begun=begun))

    def kept(self, sets: Iterable[tuple[Arm, ...]]) -> list[tuple[Arm, ...]]:
        """The sets in which an arm is left that was not given up."""
        return [arms for arms in sets if any(arm.id not in self.runner.given_up for arm in arms)]

    def chunks(self, first: Pass, progress: SweepProgress) -> Iterator[Pass]:
        """The rounds of one more group, a pass at a time, until they are enough."""
        runner, rounds = self.runner, self.rounds(first)
        for chunk in range(max(1, rounds // runner.plan.spec.repeats)):
            each = replace(first, number=first.number + chunk)
            trials, traces = runner.todo(each), [] if chunk else runner.traces(each)
            if chunk and (self.width() <= self.effort.until or not self.affords(runner.trials.of(len(trials)))):
                return
            progress.more(len(trials) + len(traces), 0 if chunk else len(arms_of([*trials, *traces])))
            yield each

    def rounds(self, each: Pass) -> int:
        """How many rounds of one more group are worth the cost of its starts."""
        repeats, (starts_s, trials_s) = self.runner.plan.spec.repeats, self.costs_s(each)
        if not trials_s or not (measured := self.observations()):
            return repeats
        return trials_a_start(starts_s, trials_s / repeats, spread(measured))

    def costs_s(self, each: Pass) -> tuple[float, float]:
        """What a group's starts take, with the recorded trials of each, and what a pass of its timed trials takes.

        Each engine and trial is taken to last as long as those of the last group.
        """
        runner, trials = self.runner, self.runner.todo(each)
        starts_s = runner.starts.of(len(arms_of(trials))) + runner.trials.of(len(runner.traces(each)))
        return starts_s, runner.trials.of(len(trials))

    def arms(self, measured: Observations | None) -> Sequence[Arm]:
        """Those that one more start is for: where only warm cells are not known well enough, the arms that have any."""
        grid = [arm for arm in self.runner.plan.grid if arm.id not in self.runner.given_up]
        warm = [arm for arm in grid if any(cell.cache_state == WARM for cell in arm.cells)]
        return warm if measured and len(warm) > 1 and only_warm(measured, self.effort.until) else grid

    def width(self) -> float:
        """Half of the widest interval of a main effect so far; infinite where nothing is replicated."""
        measured = self.observations()
        return widest_main(measured) if measured else math.inf

    def with_costs(self) -> Observations | None:
        """What was measured so far, unless a resumed run, which starts its first engines here, knows no costs yet."""
        return self.observations() if self.runner.trials.seconds > 0 else None

    def observations(self) -> Observations | None:
        """What was measured so far, of which only the new records are read; None where nothing was."""
        grid = self.runner.plan.grid
        new = run_frames(grid, self.runner.folder.new_records()).trials
        self.trials += [] if new.empty else [new]
        return observations(pd.concat(self.trials), axis_columns(grid), HEADLINE) if self.trials else None

    def affords(self, seconds: float) -> bool:
        """Whether the budget holds that much more."""
        return time.monotonic() - self.began + seconds <= self.effort.budget_s

    def _words(self, width: float) -> str:
        return f"widest main effect on {HEADLINE}: ± {width:.1%}" if width < float("inf") else "no main effect is known"
