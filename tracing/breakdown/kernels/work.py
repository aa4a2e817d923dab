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
    index = pd.MultiIndex.from_frame(steps[["pid", "step"]]) if len(steps) else pd.MultiIndex.from_arrays([[], []])
    place = index.get_indexer(pd.MultiIndex.from_frame(work[["core", "step"]]))
    numbers = {kind: number for number, kind in enumerate(OF_WORK)}
    codes = np.append(steps["kind"].map(numbers) if len(steps) else [], numbers[NO_STEP]).astype(np.int64)
    return work.assign(kind=codes[place])
