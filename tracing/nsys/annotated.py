"""The steps of a report without enginescope's ranges: those that vLLM's own CUDA profiler names by what they compute.

vLLM puts `execute_context_R(T)_generation_R(T)` around a worker's step: so many requests in their prompts, so many past
them. What a thread launches after the beginning of one, its sampling too, is of that step until the next begins.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from tracing.nsys.file import Report

NAME = re.compile(r"execute_(?:\d+_)?context_(\d+)\([^)]*\)_generation_(\d+)\([^)]*\)")


def named_steps(report: Report, offset_ns: int) -> pd.DataFrame:
    """A row a step of each process (`pid`), numbered from 0 by start: `step`, `kind`, `thread`, `start_ns`."""
    matches = report.ranges["text"].map(NAME.fullmatch)
    rows = report.ranges[matches.notna()].sort_values(["pid", "start_ns"], kind="stable")
    counts = [(int(match[1]), int(match[2])) for match in matches[rows.index]]
    return pd.DataFrame(
        {
            "pid": rows["pid"].to_numpy(np.int64),
            "step": rows.groupby("pid").cumcount().to_numpy(np.int64),
            "kind": [_kind(context, generation) for context, generation in counts],
            "thread": rows["thread"].to_numpy(np.int64),
            "start_ns": rows["start_ns"].to_numpy(np.int64) + offset_ns,
        }
    )


def _kind(context: int, generation: int) -> str:
    """A first decode is not told from the later ones."""
    if context:
        return "mixed" if generation else "prefill"
    return "decode" if generation else "empty"


def in_steps(activity: pd.DataFrame, steps: pd.DataFrame) -> pd.DataFrame:
    """What `tracing.nsys.gpu.attributed` gives, with the `step` of `named_steps` that its launch is of, and as its
    `core` the process that launched it."""
    numbers = np.full(len(activity), -1, dtype=np.int64)
    pid, thread, launch = (activity[name].to_numpy(np.int64) for name in ("pid", "launch_thread", "launch_ns"))
    for key, mine in steps.groupby(["pid", "thread"]):
        at = np.flatnonzero((pid == key[0]) & (thread == key[1]) & (launch >= 0))
        place = np.searchsorted(mine["start_ns"].to_numpy(), launch[at], side="right")
        numbers[at] = np.append(-1, mine["step"].to_numpy())[place]
    return activity.assign(step=numbers, core=activity["pid"])
