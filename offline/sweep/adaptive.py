"""An adaptive run: further starts and rounds until the differences are known well enough, or the time is used.

The rule looks at the widths of intervals and at no difference, so that stopping by it costs no error.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pandas as pd

from offline.differences.effort import WARM, only_warm, spread, trials_a_start, widest_main
from offline.differences.observations import Observations, observations
from offline.differences.run import HEADLINE
from offline.spec.effort import Effort
from offline.spec.estimate import minutes
from offline.spec.grid import Arm
from offline.spec.passes import Pass, further_pass
from offline.sweep.progress import SweepProgress
from offline.sweep.runner import Runner, arms_of
from offline.table.frames import axis_columns, run_frames


@dataclass
class AdaptiveRun:
    """A run that was measured as planned, and goes on from there."""

    runner: Runner
    effort: Effort
    began: float  # of the whole run, by time.monotonic
    trials: list[pd.DataFrame] = field(default_factory=list)  # those that were read so far

    def extend(self, progress: SweepProgress) -> str:
        """Add groups of starts, each with as many rounds as are worth their cost; why it ended, in words."""
        while (width := self.width()) > self.effort.until:
            if not self.affords(self.runner.start_s + self.runner.plan.spec.repeats * self.runner.round_s):
                return (
                    f"{self._words(width)}; the budget of {minutes(self.effort.budget_s)} does not hold another start"
                )
            if not self.runner.run_group(self.chunks(progress), progress):
                return f"{self._words(width)}; no arm is left to measure"
        return f"{self._words(width)}, within ± {self.effort.until:.1%}"

    def chunks(self, progress: SweepProgress) -> Iterator[Pass]:
        """The rounds of one more group, a pass at a time, until they are enough."""
        runner = self.runner
        repeats, number = runner.plan.spec.repeats, runner.next_pass()
        # A resumed run that starts its first engines here does not know yet what they cost.
        measured = self.observations() if runner.round_s > 0 else None
        rounds = trials_a_start(runner.start_s, runner.round_s, spread(measured)) if measured else repeats
        grid = self.arms(measured)
        for chunk in range(max(1, rounds // repeats)):
            if chunk and (self.width() <= self.effort.until or not self.affords(repeats * runner.round_s)):
                return
            each = further_pass(runner.plan.spec, grid, runner.plan.alive, number, number + chunk)
            trials, traces = runner.todo(each), [] if chunk else runner.traces(each)
            progress.more(len(trials) + len(traces), 0 if chunk else len(arms_of([*trials, *traces])))
            yield each

    def arms(self, measured: Observations | None) -> Sequence[Arm]:
        """Those that one more start is for: where only warm cells are not known well enough, the arms that have any."""
        grid = self.runner.plan.grid
        warm = [arm for arm in grid if any(cell.cache_state == WARM for cell in arm.cells)]
        return warm if measured and len(warm) > 1 and only_warm(measured, self.effort.until) else grid

    def width(self) -> float:
        """Half of the widest interval of a main effect so far; infinite where nothing is replicated."""
        measured = self.observations()
        return widest_main(measured) if measured else math.inf

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
