"""Frames of device work with known content."""

from __future__ import annotations

import pandas as pd

from tracing.breakdown.kernels.families import CODES
from tracing.breakdown.kernels.work import with_kinds

STEPS = pd.DataFrame({"pid": [11, 11, 11], "step": [0, 1, 2], "kind": ["prefill", "decode", "decode"]})


def work(*rows: tuple[int, int, str, int] | tuple[int, int, str, int, int], device: int = 0) -> pd.DataFrame:
    """Work of one device in steps of core 11: start, end, family, step and, where it is known, the launch."""
    frame = pd.DataFrame(
        [(*row, -1)[:5] for row in rows], columns=["start_ns", "end_ns", "family", "step", "launch_ns"]
    )
    frame = frame.assign(family=frame["family"].map(CODES), device=device, core=11)
    return with_kinds(frame, STEPS)
