"""Communication that a device did beside other kernels, which hides it, and that which ran alone: exposed."""

from __future__ import annotations

import pandas as pd

from tracing.breakdown.kernels.families import CODES, COMMUNICATION, COPY
from tracing.timeline.intervals import edges, length, overlap, union


def exposed(work: pd.DataFrame) -> dict[int, tuple[int, int]]:
    """By kind of step the nanoseconds in which a device communicated, and of these the exposed ones; over all devices.

    Communication is exposed while no kernel of another family runs on its device: copies hide nothing. A collective
    runs from its own start, so what it waits for other ranks is in it.

    | the device                           | communicated | exposed |
    | ------------------------------------ | ------------ | ------- |
    | all-reduce 0 to 10, GEMM from 6 on   | 10           | 6       |
    """
    sums: dict[int, tuple[int, int]] = {}
    for _, mine in work.groupby("device"):
        hiding = union(*edges(mine[~mine["family"].isin((CODES[COMMUNICATION], CODES[COPY]))]))
        for kind, those in mine[mine["family"] == CODES[COMMUNICATION]].groupby("kind"):
            pieces = union(*edges(those))
            known = sums.get(int(kind), (0, 0))
            alone = length(pieces) - int(overlap(hiding, *pieces).sum())
            sums[int(kind)] = known[0] + length(pieces), known[1] + alone
    return sums
