"""The calls of coroutines and async generators in stretches, each with the number of its call."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from tracing.timeline.lookups.namedrows import NamedRows
from tracing.timeline.lookups.rows import Rows


class CallStretches(NamedTuple):
    """The rows of the stretches at a site, in order and by request, and the number of the call that each belongs to,
    distinct for its process and id."""

    rows: Rows
    numbers: Rows
    named: NamedRows
    named_numbers: Rows

    def of(self, rows: Rows) -> Rows:
        """The number of the call that each of some stretches belongs to."""
        return self.numbers[np.searchsorted(self.rows, rows)]

    def under(self, request: int) -> tuple[Rows, Rows]:
        """The stretches of a request by its number, and the number of the call of each."""
        mine = self.named.where(request)
        return self.named.rows[mine], self.named_numbers[mine]


def call_stretches(rows: Rows, numbers: Rows, named: NamedRows) -> CallStretches:
    """The stretches at a site: their rows, the numbers of their calls, and the rows by request."""
    return CallStretches(rows, numbers, named, numbers[np.searchsorted(rows, named.rows)])


def call_numbers(recorded: Rows, begins: Rows, pid: Rows, request: Rows) -> Rows:
    """The number of the call of each stretch at a site, as it was recorded; `begins` are those with which calls begin.

    Calls with the same id may be in flight together: the recorder numbers them. Older traces have no numbers (0); there
    a call is taken to last until the next one.
    """
    if recorded.all():
        return recorded
    groups = [pd.Series(pid), pd.Series(request)]
    counted = pd.Series(begins).groupby(groups).cumsum().to_numpy(dtype=np.int64)
    numbered = pd.Series(recorded != 0).groupby(groups).transform("any").to_numpy(dtype=bool)
    return np.where(numbered, recorded, counted)
