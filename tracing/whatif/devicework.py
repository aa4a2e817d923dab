"""What the rings say of a device: how long it worked, and the delays that were put before its work."""

from __future__ import annotations

import numpy as np

from tracing.events.layout import DELAYED, DEVICE, LIST
from tracing.timeline.intervals import Ints, Pieces, contains, overlap, union

WORDS = 12  # of 32 bits in a record
HALF = 32  # bits


def work_ns(rows: np.ndarray, windows: Pieces) -> int:
    """How much of some windows the device of a process worked whose records these are; as long as the launches where
    these took longer."""
    _, words = _lists(rows, DEVICE)
    begin_ns, end_ns = (words[:, 0:4:2] + (words[:, 1:4:2] << HALF)).T
    return int(overlap(union(begin_ns, end_ns), *windows).sum())


def delay_ns(rows: np.ndarray, site: int, windows: Pieces) -> int:
    """The delays that the process put before a site's launches in some windows."""
    heads, words = _lists(rows, DELAYED)
    inside = (words[:, 0] == site) & contains(windows, heads["start"])
    return int(words[inside, 2].sum())


def _lists(rows: np.ndarray, code: int) -> tuple[np.ndarray, Ints]:
    """The heads of a code's lists, which fit into one record each, and their words; the last may lack its payload."""
    places = np.flatnonzero((rows["kind"] == LIST)[:-1] & (rows["site"] == code)[:-1])
    words = np.ascontiguousarray(rows[places + 1]).view("<u4").reshape(-1, WORDS)
    return rows[places], words.astype(np.int64)
