"""Which of many overlapping intervals is on top, for every piece of time: numpy only, no loop over intervals."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def topmost(start: Ints, end: Ints, precedence: Ints) -> tuple[Ints, Ints]:
    """Cut time at every start and end, and name the interval of highest precedence in each piece.

    Returns the ascending `bounds` of the pieces and, for piece `bounds[i]:bounds[i + 1]`, the index of its interval, or
    -1 where none covers it. Precedences are distinct. Intervals without length cover nothing.

    The cost is n log n: each interval is laid down as two blocks whose length is a power of two, and what lies on top
    of a block is handed on to its halves, level by level.
    """
    order = np.argsort(precedence)
    order = order[end[order] > start[order]]
    bounds = np.unique(np.concatenate((start[order], end[order])))
    pieces = max(len(bounds) - 1, 0)
    first = np.searchsorted(bounds, start[order])
    last = np.searchsorted(bounds, end[order])
    level = np.frexp((last - first).astype(np.float64))[1] - 1
    top = np.full(pieces, -1, dtype=np.int64)
    for height in range(int(level.max(initial=-1)), -1, -1):
        here = np.flatnonzero(level == height)
        _lay(top, first[here], here)
        _lay(top, last[here] - (1 << height), here)
        if height:
            half = 1 << (height - 1)
            whole = top.copy()
            np.maximum(top[half:], whole[:-half], out=top[half:])
    return bounds, np.where(top >= 0, order[top], -1) if len(order) else top


def _lay(top: Ints, at: Ints, rank: Ints) -> None:
    """Lay blocks of one length on top; of several at one place the last one counts, and ranks ascend."""
    layer = np.full(len(top), -1, dtype=np.int64)
    layer[at] = rank
    np.maximum(top, layer, out=top)
