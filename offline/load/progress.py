"""What a running load run shows: one live line on a terminal, plain lines elsewhere, with the time left."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from offline.spec.plan import minutes


class LoadProgress:
    """Counts down the planned seconds; a start that takes longer than planned moves what is left.

    What passes in one of several starts `at_once` counts as that part of it.
    """

    def __init__(self, total_s: float, out: Console, at_once: float = 1.0) -> None:
        self.out, self.total_s, self.done_s, self.at_once = out, max(total_s, 1.0), 0.0, at_once
        self.begin()
        columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), TimeElapsedColumn())
        self._bar = Progress(*columns, TextColumn("{task.fields[left]}"), console=out, disable=not out.is_terminal)
        self._task = self._bar.add_task("starting", total=self.total_s, left="")

    def begin(self) -> None:
        """What is over by now was measured by an earlier command: the pace is that of what follows."""
        self._before_s, self._began = self.done_s, time.monotonic()

    def __enter__(self) -> LoadProgress:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def tell(self, text: str) -> None:
        """What happens now."""
        if self.out.is_terminal:
            self._bar.update(self._task, description=text, completed=self.done_s, left=self.left())
        else:
            self.out.print(Text(f"{text}, {self.left()}"), soft_wrap=True)

    def warn(self, text: str) -> None:
        """What went wrong, or was left out, in a line of its own."""
        self.out.print(Text(f"  {text}"), style="yellow", soft_wrap=True)

    def passed(self, planned_s: float) -> None:
        """A part that was planned with so many seconds is over, or left out."""
        self.done_s = min(self.total_s, self.done_s + planned_s / self.at_once)

    def left(self) -> str:
        """The time left: what is planned, stretched or shrunk as what is done was; how long a search takes is not."""
        if self.done_s >= self.total_s:
            return "beyond the estimate"
        spent_s, done_s = time.monotonic() - self._began, self.done_s - self._before_s
        pace = spent_s / done_s if done_s > 0.1 * (self.total_s - self._before_s) else 1.0
        return f"{minutes((self.total_s - self.done_s) * pace)} left"
