"""The spans of a trace in pieces: without the waits inside them, the own time of loops, and what a core did."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd

from tracing.timeline.intervals import expanded
from tracing.timeline.lookups.rows import NONE, Rows, among
from tracing.timeline.nesting import Cut, cut_at_waits, outermost, own_of_loops

NO_PIECES = Cut(NONE, NONE, NONE)


class CutSpans:
    """Pieces are numbered by the row of their span."""

    def __init__(self, spans: pd.DataFrame) -> None:
        self._spans = spans

    @cached_property
    def all(self) -> Cut:
        """All spans without the waits inside them, by row."""
        return cut_at_waits(self._spans)

    def of(self, rows: Rows) -> Cut:
        """Some spans, by row, without the waits inside them."""
        return Cut(*(column[among(self.all.place, rows)] for column in self.all))

    def places(self, rows: Rows) -> tuple[Rows, Rows]:
        """Where the pieces of some spans are in `all`: the place of each one's span in `rows`, and its own."""
        return expanded(self._first[rows], self._first[rows + 1])

    @cached_property
    def _first(self) -> Rows:
        """By row, and for the end, where its pieces begin in `all`."""
        return np.append(0, np.cumsum(np.bincount(self.all.place, minlength=len(self._spans))))

    @cached_property
    def _loops(self) -> dict[tuple[int, str], Cut]:
        own = own_of_loops(self._spans)
        threads = self._spans[["pid", "role"]].iloc[own.place].groupby(["pid", "role"], observed=True).indices
        return {(int(pid), str(role)): Cut(*(column[at] for column in own)) for (pid, role), at in threads.items()}

    def loops(self, pid: int, role: str) -> Cut:
        """The own time of a process's loops, by start."""
        return self._loops.get((pid, role), NO_PIECES)

    @cached_property
    def _core_work(self) -> dict[int, Cut]:
        spans = self._spans
        mine = spans[(spans["role"] == "core") & (spans["share"] == "work") & (spans["site"] != "gc")]
        outer = outermost(mine)
        columns = (outer.index.to_numpy(), *(outer[name].to_numpy(dtype=np.int64) for name in ("start_ns", "end_ns")))
        return {int(pid): Cut(*(column[at] for column in columns)) for pid, at in outer.groupby("pid").indices.items()}

    def core_work(self, pid: int) -> Cut:
        """What a core's main thread did, by start, each span that lies in no other."""
        return self._core_work.get(pid, NO_PIECES)
