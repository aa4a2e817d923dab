"""Why requests stayed in a core's queue, step by step, and the stretches of time for which one reason held."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from tracing.events.step import ENCODER_BUDGET, HELD_BACK, KV_BLOCKS, NO_CHUNK, NOBODY, NOT_KNOWN, NOT_TOLD
from tracing.timeline.intervals import Ints, Pieces
from tracing.timeline.spans import Timeline

# What a refusal of blocks tells better: the scheduler asks for them last.
UNTIL_REFUSED = (NOT_KNOWN, NO_CHUNK, ENCODER_BUDGET)
SAYS_NOTHING = (NOBODY, NOT_TOLD)


class ReasonTimes(NamedTuple):
    """Times for which one reason kept those in a core's queue that the scheduler did not come to, and its code."""

    pieces: Pieces
    reason: Ints


def reasons(timeline: Timeline) -> pd.DataFrame:
    """`held_back` and `head_held_back` of the steps, by `pid` and `step`, where blocks were refused to nobody else."""
    steps, spans = timeline.steps, timeline.spans
    rows = spans[(spans["site"] == "kv.allocate") & (spans["extra"] == 1) & (spans["step"] >= 0)]
    refused = pd.MultiIndex.from_frame(rows[["pid", "step"]])
    codes = steps[["pid", "step", "held_back", "head_held_back"]]
    was_refused = pd.MultiIndex.from_frame(codes[["pid", "step"]]).isin(refused)
    better = {
        name: codes[name].where(~(was_refused & codes[name].isin(UNTIL_REFUSED)), KV_BLOCKS)
        for name in ("held_back", "head_held_back")
    }
    return codes.assign(**better)


def reason_times(timeline: Timeline) -> dict[int, ReasonTimes]:
    """By core, the stretches from the call of a step's scheduling to that of the next with another reason.

    A reason holds until the scheduler is called again; nothing is said of the time before the first call.
    """
    spans = timeline.spans
    calls = spans.loc[(spans["site"] == "scheduler.schedule") & (spans["step"] >= 0), ["pid", "step", "start_ns"]]
    calls = reasons(timeline).merge(calls, on=["pid", "step"]).sort_values(["pid", "start_ns"])
    return {int(core): _times(mine) for core, mine in calls.groupby("pid")}


def _times(calls: pd.DataFrame) -> ReasonTimes:
    start, reason = (calls[name].to_numpy(np.int64) for name in ("start_ns", "held_back"))
    begins = np.flatnonzero(np.diff(reason, prepend=-1))
    ends = np.append(start[begins[1:]], np.iinfo(np.int64).max)
    known = ~np.isin(reason[begins], SAYS_NOTHING)
    return ReasonTimes((start[begins][known], ends[known]), reason[begins][known])


def wait_name(code: int) -> str:
    """The name of a request's wait in the queue for a reason."""
    name = HELD_BACK.get(code, HELD_BACK[NOT_KNOWN])
    return "wait: remote KV" if name == "remote KV" else f"wait: scheduler queue ({name})"
