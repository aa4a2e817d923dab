"""What a running sweep shows: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from offline.grid import Arm, Trial
from offline.plan import minutes


class SweepProgress:
    """Counts trials and tells arm, cell, speed so far and the time left, from what has been measured in this run."""

    def __init__(self, total: int, estimate_s: float, console: Console) -> None:
        self.total, self.done, self.estimate_s = total, 0, estimate_s
        self.console = console
        self.began = time.monotonic()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
        )
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task("starting", total=total, left="")

    def __enter__(self) -> SweepProgress:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def arm(self, arm: Arm, number: int, count: int) -> None:
        """An engine is being started."""
        self._say(f"arm {number}/{count} {arm.name}: starting the engine")

    def ready(self, arm: Arm, seconds: float) -> None:
        """The engine is up."""
        self._say(f"  engine up after {seconds:.1f} s; warming up {len(arm.cells)} cells")

    def trial(self, trial: Trial, tok_s: float) -> None:
        """A trial is done and on disk."""
        self.done += 1
        cell = trial.cell
        text = f"batch {cell.batch_size} {cell.cache_state} trial {trial.index + 1}: {tok_s:.1f} tok/s"
        if self.console.is_terminal:
            self._bar.update(self._task, completed=self.done, description=text, left=self.left())
        else:
            self.console.print(f"  {self.done}/{self.total} {text}, {self.left()}", highlight=False, soft_wrap=True)

    def problem(self, text: str) -> None:
        """A refused or failed arm, in the engine's words."""
        self.console.print(f"  {text}", style="yellow", highlight=False, markup=False, soft_wrap=True)

    def left(self) -> str:
        """The time left, told from this run's own pace once a tenth of it is done."""
        passed = time.monotonic() - self.began
        total = passed / self.done * self.total if self.done * 10 >= self.total else self.estimate_s
        return f"{minutes(max(0.0, total - passed))} left"

    def _say(self, text: str) -> None:
        if self.console.is_terminal:
            self._bar.update(self._task, description=text.strip(), left=self.left())
        else:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)
