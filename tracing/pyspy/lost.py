"""Threads that py-spy lost while they ran on: their last stack stands, as if nothing changed any more.

py-spy cannot read a process whose program replaced itself (exec), and does not say of which that is true.
"""

from __future__ import annotations

import pandas as pd

from tracing.pyspy import waitingframes
from tracing.pyspy.samples import Samples
from tracing.timeline.spans import Timeline

LEAST = 20  # samples: of fewer, one stack may be all there was


def lost_threads(samples: Samples, timeline: Timeline | None) -> dict[tuple[int, int], int]:
    """Since when (ns) the stack of each lost thread, by process and thread, has stood.

    It has spans, all of vLLM's functions, and in their time one stack only, which neither waits nor is in vLLM.
    """
    lost: dict[tuple[int, int], int] = {}
    threads = dict(list(samples.frame.groupby(["pid", "thread"], sort=False)))
    spans = timeline.spans.groupby(["pid", "thread"], sort=False) if timeline else ()
    for key, rows in spans:
        mine = threads.get(key, samples.frame[:0])
        during = mine["stack"][mine["time_ns"].between(rows["start_ns"].min(), rows["end_ns"].max())].unique()
        if len(during) == 1 and len(mine) >= LEAST and _tells_nothing(samples, int(during[0])):
            changed = mine["time_ns"][mine["stack"] != during[0]]
            lost[key] = int(changed.max()) if len(changed) else 0
    return lost


def _tells_nothing(samples: Samples, stack: int) -> bool:
    frames = samples.stacks[stack]
    return waitingframes.state(frames) == waitingframes.WORKING and not waitingframes.of_vllm(frames)


def without(frame: pd.DataFrame, lost: dict[tuple[int, int], int]) -> pd.DataFrame:
    """The samples that were really taken: those of lost threads only from before they were lost."""
    for (pid, thread), since in lost.items():
        frame = frame[(frame["pid"] != pid) | (frame["thread"] != thread) | (frame["time_ns"] <= since)]
    return frame.reset_index(drop=True)
