"""What the cores of a trace scheduled of each request: in which steps, and how many tokens in each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from tracing.timeline.lookups.rows import Rows, grouped


class RequestSchedule(NamedTuple):
    """The core that scheduled a request, its steps in order, and the tokens that each scheduled of it."""

    core_pid: int
    steps: Rows
    tokens: Rows


def schedules(batches: pd.DataFrame) -> dict[str, RequestSchedule]:
    """By request, of those that were scheduled; `batches` is the frame of a timeline."""
    pid, step, tokens = (batches[name].to_numpy(dtype=np.int64) for name in ("pid", "step", "tokens"))
    rows_of = grouped(batches["request"])
    ordered = {name: rows[np.argsort(step[rows], kind="stable")] for name, rows in rows_of.items() if len(rows)}
    return {name: RequestSchedule(int(pid[rows[0]]), step[rows], tokens[rows]) for name, rows in ordered.items()}
