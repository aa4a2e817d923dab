"""What set the pace of a step on its device: its launches, which came too late, or its kernels.

A kernel begins as soon as it was launched and what ran before it is over. Which of the two it began with is what it
waited for; the time from the start before it is put down to that. What begins beside a kernel of another stream waited
for no launch that left the device idle: that time is the kernels'. A step is launch-bound where more than half of its
time, from its first kernel's start to its last one's end, is put down to launches.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from tracing.timeline.intervals import Ints

LAUNCH, KERNEL, UNKNOWN = "launch", "kernel", "unknown"
PACES = (LAUNCH, KERNEL, UNKNOWN)


def paces(work: pd.DataFrame) -> pd.DataFrame:
    """A row a step and device, by `kind`, `core`, `step` and `device`: the nanoseconds put down to each of `PACES`.

    `work` is in the order of its starts. What follows a kernel whose launch is not known is unknown; the time of the
    last kernel is its own.
    """
    parts = [_of_device(mine) for _, mine in work.groupby("device", sort=True)]
    keys = ["kind", "core", "step", "device"]
    if not parts:
        return pd.DataFrame({name: np.zeros(0, np.int64) for name in (*keys, *PACES)})
    return pd.concat(parts).groupby(keys, as_index=False)[list(PACES)].sum()


def bound(steps: pd.DataFrame) -> np.ndarray:
    """Which of `PACES` each row of `paces` is bound by: the one with more than half of the time, else unknown."""
    spent = steps[[LAUNCH, KERNEL, UNKNOWN]].to_numpy()
    most = spent.argmax(axis=1)
    sure = spent.max(axis=1, initial=0) * 2 > spent.sum(axis=1)
    return np.array(PACES, dtype=object)[np.where(sure, most, PACES.index(UNKNOWN))]


def _of_device(mine: pd.DataFrame) -> pd.DataFrame:
    start, end, launch = (mine[name].to_numpy(np.int64) for name in ("start_ns", "end_ns", "launch_ns"))
    by_launch, known = _by_launch(start, end, launch)
    keys = mine[["kind", "core", "step", "device"]].reset_index(drop=True)
    since = start - start[_previous(keys)]
    last_end = pd.Series(end).groupby([keys["core"], keys["step"]]).transform("max").to_numpy()
    is_last = ~keys.duplicated(["core", "step"], keep="last").to_numpy()
    own = np.where(is_last, last_end - start, 0)
    return keys.assign(
        **{
            LAUNCH: np.where(known & by_launch, since, 0),
            KERNEL: np.where(known & ~by_launch, since, 0) + own,
            UNKNOWN: np.where(known, 0, since),
        }
    )


def _previous(keys: pd.DataFrame) -> Ints:
    """The place of the row before each one in its step; its own for the first."""
    rows = pd.Series(np.arange(len(keys)))
    before = rows.groupby([keys["core"], keys["step"]]).shift(1)
    return before.fillna(rows).to_numpy(np.int64)


def _by_launch(start: Ints, end: Ints, launch: Ints) -> tuple[np.ndarray, np.ndarray]:
    """Which kernels began with their launch and not with the end of what ran before, and for which it is known.

    The nearer of the two counts. A launch takes some time to arrive: the least that any took on this device.
    """
    known = launch >= 0
    took = start - launch
    least = took[known].min() if known.any() else 0
    before = np.concatenate(([np.iinfo(np.int64).min // 2], np.maximum.accumulate(end)[:-1]))
    return took - least < start - before, known
