"""Collectives divided into waiting for other ranks and what the collective itself takes.

A collective is done by no rank before all have come to it. So each rank waits from its own call to the call of the rank
that comes last, on the clock that all share, and the rest is the collective: on a CPU that is its copying and adding,
the rank's work. This needs no guess at how long a collective should take, as the least time of all ranks would be:
of the rank that comes last, too, the operating system can take the core away.

Calls belong together by the core of their workers, the step, the group (its first and last rank) and their order in it.
Where the ranks of a core made different numbers of calls in a step, as at the edge of a recording, none is divided; of
ranks that work for other cores nothing is known, and waiting for them counts as the collective.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from tracing.timeline.intervals import Ints, by_start, edges

COLLECTIVE = "collective"
OTHER_RANKS = "wait: other ranks"


def divided(spans: pd.DataFrame, owners: dict[int, int]) -> pd.DataFrame:
    """Spans, sorted as they were, in which a collective that waited is two: the wait and the rest.

    `owners` has the core of each process. Where a worker launches on a device a collective's call waits for nobody, and
    its stage is another.
    """
    place = np.flatnonzero(((spans["stage"] == COLLECTIVE) & (spans["step"] >= 0)).to_numpy())
    if not len(place):
        return spans
    start, end = edges(spans)
    until = np.minimum(last_call(spans.iloc[place], owners), end[place])
    waited = until > start[place]
    if not waited.any():
        return spans
    place, until = place[waited], until[waited]
    both = spans.assign(stage=_with(spans["stage"], OTHER_RANKS), share=_with(spans["share"], "wait"))
    waits = both.iloc[place].assign(end_ns=until)
    waits.loc[:, "stage"], waits.loc[:, "share"] = OTHER_RANKS, "wait"  # in place: they stay categories
    after = start.copy()
    after[place] = until
    rows = pd.concat([both.assign(start_ns=after)[(end > after) | (start == end)], waits], ignore_index=True)
    return rows.iloc[by_start(*edges(rows))].reset_index(drop=True)


def _with(column: pd.Series, name: str) -> pd.Series:
    """A category column that can hold a name."""
    return column if name in column.cat.categories else column.cat.add_categories([name])


def last_call(rows: pd.DataFrame, owners: dict[int, int]) -> Ints:
    """By row when the last rank came to the same collective; the row's own start where that is not known."""
    calls = rows[["pid", "step", "value", "extra", "start_ns"]].assign(core=rows["pid"].map(owners).fillna(-1))
    group = ["core", "step", "value", "extra"]
    by_rank = calls.groupby(["pid", *group], sort=False)["start_ns"]
    calls = calls.assign(number=by_rank.cumcount(), count=by_rank.transform("size"))
    counts = calls.groupby(group, sort=False)["count"]
    paired = (counts.transform("min") == counts.transform("max")) & (calls["core"] >= 0)
    last = calls.groupby([*group, "number"], sort=False)["start_ns"].transform("max")
    return np.where(paired, last, rows["start_ns"]).astype(np.int64)
