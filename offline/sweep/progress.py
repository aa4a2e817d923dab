"""What a running sweep shows: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from offline.records.lines import StartRecord
from offline.spec.estimate import minutes
from offline.spec.grid import Arm, Trial


class SweepProgress:
    """Counts trials and tells arm, cell, speed so far and the time left; `engines` are those still to be started.

    `estimate_s` is that of what is left at first, `start_s` that of one engine start; 0 where it is not known.
    """

    def __init__(
        self, total: int, done: int, engines: int, estimate_s: float, out: Console, start_s: float = 0.0
    ) -> None:
        self.total, self.done, self.engines, self.out, self.start_s = total, done, engines, out, start_s
        self.estimate_s = estimate_s
        self.began, self.at_start = time.monotonic(), done
        self.started, self.starting_s = 0, 0.0  # engines that are up, and what they took in all
        self._starting = 0  # engines that are being started
        self._since: float | None = None  # from when on
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
        )
        self._bar = Progress(*columns, console=out, disable=not out.is_terminal)
        self._task = self._bar.add_task("starting", total=total, completed=done, left="")

    def __enter__(self) -> SweepProgress:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def arm(self, arm: Arm) -> None:
        """An engine is being started."""
        self._starting += 1
        self._since = time.monotonic() if self._since is None else self._since
        self._say(f"{arm.name}: starting an engine")

    def ready(self, arm: Arm, start: StartRecord) -> None:
        """The engine is up."""
        self.starting_s += self._open_s()
        self.started, self._starting, self._since = self.started + self._starting, 0, None
        self._say(f"{arm.name}: engine up after {start.startup_s:.1f} s")

    def trial(self, trial: Trial, tok_s: float) -> None:
        """A trial is done and on disk."""
        self._done(trial, f"{tok_s:.1f} tok/s")

    def traced(self, trial: Trial) -> None:
        """A recorded trial is done and on disk."""
        self._done(trial, "recorded")

    def _done(self, trial: Trial, outcome: str) -> None:
        self.done += 1
        text = f"{trial.arm.name} batch {trial.cell.batch_size} {trial.cell.cache_state}: {outcome}"
        if self.out.is_terminal:
            self._bar.update(self._task, completed=self.done, description=text, left=self.left())
        else:
            self._say(f"  {self.done}/{self.total} {text}, {self.left()}")

    def given_up(self, text: str, trials: int, engines: int) -> None:
        """A refused or failed arm, in the engine's words, and what is not going to be run and started because of it."""
        self.total, self.engines = self.total - trials, self.engines - engines
        self._bar.update(self._task, total=self.total)
        self.out.print(Text(f"  {text}"), style="yellow", soft_wrap=True)

    def more(self, trials: int, engines: int) -> None:
        """An adaptive run goes on."""
        self.total, self.engines = self.total + trials, self.engines + engines
        self._bar.update(self._task, total=self.total)

    def left(self) -> str:
        """The time left: by this run's own pace once a tenth of it is done, by the estimate before.

        Engines that took longer to start than estimated make all of the estimate longer.
        """
        passed, done, missing = time.monotonic() - self.began, self.done - self.at_start, self.total - self.done
        if missing and done <= 0.1 * (done + missing):
            return f"{minutes(missing / (done + missing) * max(self._pace() * self.estimate_s, passed))} left"
        starting = (self.engines - self.started) * self.starting_s / max(1, self.started) - self._open_s()
        measuring = missing * (passed - self.starting_s - self._open_s()) / max(1, done)
        return f"{minutes(max(0.0, starting) + measuring)} left"

    def _pace(self) -> float:
        """How many times as long as estimated engines took to start; 1 as long as that is not known."""
        return self.starting_s / self.started / self.start_s if self.started and self.start_s else 1.0

    def _open_s(self) -> float:
        """For how long the engines that are not up yet have been starting."""
        return 0.0 if self._since is None else time.monotonic() - self._since

    def _say(self, text: str) -> None:
        if self.out.is_terminal:
            self._bar.update(self._task, description=text, left=self.left())
        else:
            self.out.print(Text(text), soft_wrap=True)
