"""What an engine had to do over time: its batch size, the requests that waited, and what its KV blocks held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from probes.columns import column
from tracing.timeline.intervals import expanded
from tracing.timeline.steps.anatomy import batch_sizes, working

Floats = npt.NDArray[np.float64]
PARTS = 60  # of the time, in the review


@dataclass(frozen=True)
class LoadFigure:
    """A row of `load`: one quantity of one core."""

    name: str = field(metadata=column("batch size, waiting, KV use, KV cached or KV evicted"))
    core_pid: int = field(metadata=column("the core's process"))
    median: float = field(
        metadata=column("in the median step that scheduled something", "requests; of KV 1, evicted blocks")
    )
    most: float = field(metadata=column("in any step", "as `median`"))
    over_time: tuple[float, ...] = field(
        metadata=column("sixty equal parts of the time with steps: the most in each, 0 without one", "as `most`")
    )


def load(steps: pd.DataFrame) -> tuple[LoadFigure, ...]:
    """A row a quantity and core; none without a step. `steps` is the frame of `tracing.timeline.steps.anatomy`."""
    steps = working(steps)
    window = span_of(steps)
    return tuple(
        LoadFigure(
            name,
            int(pid),
            float(np.median(values)),
            float(values.max()),
            tuple(float(f"{value:.4g}") for value in over_time(rows, values, window, PARTS)),
        )
        for pid, rows in steps.groupby("pid")
        for name, values in quantities(rows).items()
    )


def quantities(steps: pd.DataFrame) -> Mapping[str, Floats]:
    """By name, the quantities of each step: requests in it, requests that still waited, and of the KV blocks, where it
    is known how many there are, the shares in use and cached, and how many were evicted, where any were."""
    figures = {
        "batch size": batch_sizes(steps).to_numpy(dtype=float),
        "waiting": steps["waiting"].to_numpy(dtype=float),
    }
    blocks = steps["kv_blocks"].to_numpy(dtype=float)
    if not blocks.all():
        return figures
    figures["KV use"] = steps["kv_used_blocks"].to_numpy() / blocks
    cached, evicted = (steps[f"kv_{name}_blocks"].to_numpy(dtype=float) for name in ("cached", "evicted"))
    more = {"KV cached": np.maximum(cached, 0) / blocks, "KV evicted": np.maximum(evicted, 0)}
    return figures | {name: values for name, values in more.items() if values.any()}


def span_of(steps: pd.DataFrame) -> tuple[int, int]:
    """From the start of the first step to the end of the last, in nanoseconds; (0, 0) without one."""
    return (int(steps["start_ns"].min()), int(steps["end_ns"].max())) if len(steps) else (0, 0)


def over_time(steps: pd.DataFrame, values: Floats, window: tuple[int, int], parts: int) -> Floats:
    """The most of the steps' values in each of some equal parts of a window; 0 where no step was in flight."""
    start, end = (steps[name].to_numpy(dtype=np.int64) - window[0] for name in ("start_ns", "end_ns"))
    length = max(window[1] - window[0], 1)
    first, last = start * parts // length, np.minimum(end * parts // length, parts - 1)
    which, place = expanded(first, last + 1)
    most = np.zeros(parts)
    np.maximum.at(most, place, values[which])
    return most
