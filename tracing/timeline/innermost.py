"""Where a time lies among the spans of its thread: in the innermost one, with its stage and its step."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tracing.sites.site import ENCLOSING
from tracing.timeline.intervals import Ints, edges, topmost
from tracing.timeline.spans import Timeline

OUTSIDE = "outside of any span"


class Places:
    """The innermost span of a thread at any time, as its stage and step."""

    def __init__(self, timeline: Timeline) -> None:
        self.stages = [OUTSIDE, *map(str, timeline.spans["stage"].cat.categories)]
        telling = timeline.spans[~timeline.spans["share"].isin(ENCLOSING)]
        self._threads = {
            (int(pid), int(thread)): _pieces(rows) for (pid, thread), rows in telling.groupby(["pid", "thread"])
        }

    def of(self, pid: int, thread: int, times: Ints) -> tuple[Ints, Ints]:
        """The number of the stage and the step, -1 for none, at some times of a thread."""
        if (pid, thread) not in self._threads:
            return np.zeros(len(times), np.int64), np.full(len(times), -1, np.int64)
        bounds, stage, step = self._threads[pid, thread]
        place = np.searchsorted(bounds, times, side="right")
        return stage[place], step[place]

    def spent(self, threads: set[tuple[int, int]], steps: Ints) -> dict[str, int]:
        """By stage, the nanoseconds that some threads spent in spans of some steps, each instant in the innermost."""
        total: dict[str, int] = {}
        for bounds, stage, step in (self._threads[each] for each in threads if each in self._threads):
            lengths, inside = np.diff(bounds), np.isin(step[1:-1], steps)
            for number in np.unique(stage[1:-1][inside]).tolist():
                name = self.stages[number]
                total[name] = total.get(name, 0) + int(lengths[inside & (stage[1:-1] == number)].sum())
        total.pop(OUTSIDE, None)
        return total


def _pieces(rows: pd.DataFrame) -> tuple[Ints, Ints, Ints]:
    """The bounds of a thread's pieces of time, and the stage and step before, between and after them.

    Rows come by start, then the longest first, so that of those that cover a piece the last is the innermost.
    """
    bounds, top = topmost(*edges(rows), np.arange(len(rows)))
    top = np.concatenate(([-1], top, [-1])) if len(bounds) else np.array([-1])
    stage = np.append(rows["stage"].cat.codes.to_numpy(dtype=np.int64) + 1, 0)  # the last one serves -1
    step = np.append(rows["step"].to_numpy(dtype=np.int64), -1)
    return bounds, stage[top], step[top]
