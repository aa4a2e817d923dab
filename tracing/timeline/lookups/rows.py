"""Rows of a frame, and how those that carry some numbers or texts are found."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracing.timeline.intervals import distinct, expanded

Rows = npt.NDArray[np.int64]
NONE: Rows = np.zeros(0, dtype=np.int64)


def picked(sorted_rows: tuple[Rows, Rows], steps: Rows) -> Rows:
    """Of rows sorted by step those of some steps."""
    return sorted_rows[1][among(sorted_rows[0], steps)]


def among(numbers: Rows, wanted: Rows) -> Rows:
    """The places in the sorted `numbers` that hold one of `wanted`."""
    if not len(wanted):
        return NONE
    wanted = wanted if (wanted[1:] > wanted[:-1]).all() else distinct(wanted)
    return expanded(np.searchsorted(numbers, wanted, "left"), np.searchsorted(numbers, wanted, "right"))[1]


def grouped(column: pd.Series) -> dict[str, Rows]:
    """The rows of a column of categories by text; what is missing has no rows."""
    codes, names = column.cat.codes.to_numpy(), list(map(str, column.cat.categories.tolist()))
    order = np.argsort(codes, kind="stable")
    edges = np.searchsorted(codes[order], np.arange(len(names) + 1))
    return {name: order[edges[place] : edges[place + 1]] for place, name in enumerate(names)}
