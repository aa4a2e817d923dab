"""What devices did, kernel by kernel, as torch's profiler and nsys both tell it, and the steps that it was done for.

A frame of work has a row a kernel, copy or whole graph: `start_ns`, `end_ns`, `device` (a number of its own for each
process and device), `family` (its place in `FAMILIES`), `core` and `step` (-1: of none), and `launch_ns`, when the call
that launched it began (-1: not known).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from tracing.timeline.steps.anatomy import KINDS

COLUMNS = ("start_ns", "end_ns", "device", "family", "core", "step", "launch_ns")
NO_STEP = "no step"
OF_WORK = (*KINDS, NO_STEP)  # the kinds of step that work is told apart by; `kind` of `with_kinds` is a place in it


def with_kinds(work: pd.DataFrame, steps: pd.DataFrame) -> pd.DataFrame:
    """The work in the order of its starts, with the `kind` of its step.

    `steps` is the frame of `tracing.timeline.steps.anatomy.anatomy`; work of a step that is not in it is of none.
    """
    work = work.sort_values("start_ns", kind="stable", ignore_index=True)
    kinds = np.full(len(work), OF_WORK.index(NO_STEP), dtype=np.int8)
    cores, numbers = work["core"].to_numpy(), work["step"].to_numpy()
    for core, mine in steps.groupby("pid") if len(steps) else ():
        known = mine.sort_values("step")
        at = np.flatnonzero((cores == core) & np.isin(numbers, known["step"]))
        codes = known["kind"].map(OF_WORK.index).to_numpy(np.int8)
        kinds[at] = codes[np.searchsorted(known["step"].to_numpy(), numbers[at])]
    return work.assign(kind=kinds)
