"""The workers of each core: what they ran in each step, how long, and which one was the slowest."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tracing.timeline.intervals import Ints, Pieces, edges, overlap, union
from tracing.timeline.spans import Timeline
from tracing.timeline.steps.collectives import COLLECTIVE, OTHER_RANKS
from tracing.timeline.steps.owners import owners

RUN = ("worker.execute", "worker.sample")
BUSY = (*RUN, "worker.reply", "worker.hand_over", "worker.dummy")


def core_of(timeline: Timeline) -> dict[int, int]:
    """The core process that each process works for."""
    return owners(timeline.processes, timeline.steps["pid"].tolist())


def of_core(timeline: Timeline, core: int, cores: dict[int, int]) -> list[int]:
    """The processes in which a core's workers run: the core itself where they are inside."""
    spans = timeline.spans
    working = set(spans["pid"][spans["role"] == "worker"].unique().tolist())
    return sorted(pid for pid, owner in cores.items() if owner == core and pid in working)


def runs(timeline: Timeline, steps: pd.DataFrame, cores: dict[int, int]) -> pd.DataFrame:
    """A row a step and worker that ran something of it.

    `place` is the step's row, `worker` the process, `run_ns` how long it ran, `own_ns` the part in which it neither
    waited nor was in a collective, and `others_ns` how long it waited for other ranks.
    """
    spans = timeline.spans
    rows = spans[spans["site"].isin(RUN) & (spans["step"] >= 0)]
    length = (rows["end_ns"] - rows["start_ns"]).to_numpy(dtype=np.int64)
    frame = pd.DataFrame(
        {
            "place": places(steps, rows["pid"].map(cores).fillna(-1).to_numpy(np.int64), rows["step"].to_numpy()),
            "worker": rows["pid"].to_numpy(dtype=np.int64),
            "run_ns": length,
            "own_ns": length - spent_in(spans[(spans["share"] == "wait") | (spans["stage"] == COLLECTIVE)], rows),
            "others_ns": spent_in(spans[spans["stage"] == OTHER_RANKS], rows),
        }
    )
    return frame[frame["place"] >= 0].groupby(["place", "worker"], as_index=False).sum()


def spent_in(spans: pd.DataFrame, rows: pd.DataFrame) -> Ints:
    """How much of each row its own thread spent in any of some spans, in nanoseconds."""
    inside = np.zeros(len(rows), dtype=np.int64)
    pid, thread = (rows[name].to_numpy() for name in ("pid", "thread"))
    for key, of_thread in spans.groupby(["pid", "thread"], sort=False):
        mine = (pid == key[0]) & (thread == key[1])
        inside[mine] = overlap(union(*edges(of_thread)), *edges(rows[mine]))
    return inside


def slowest(run: pd.DataFrame, count: int) -> tuple[Ints, Ints]:
    """By step: the worker with the most work of its own (-1: none ran it), and by how much it exceeds the one with the
    least. While the slowest works the others wait for it, so that their runs are as long as its own.
    """
    worker, spread = np.full(count, -1, dtype=np.int64), np.zeros(count, dtype=np.int64)
    last = run.sort_values("own_ns", kind="stable").drop_duplicates("place", keep="last")
    worker[last["place"]] = last["worker"]
    own = run.groupby("place")["own_ns"]
    span = own.max() - own.min()
    spread[span.index] = span
    return worker, spread


def places(steps: pd.DataFrame, cores: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The rows of `steps` that have these cores and step numbers; -1 where there is none."""
    index = pd.MultiIndex.from_frame(steps[["pid", "step"]])
    return np.asarray(index.get_indexer(pd.MultiIndex.from_arrays([cores, numbers])), dtype=np.int64)


def busy(timeline: Timeline, worker: int) -> Pieces:
    """When a worker ran anything."""
    spans = timeline.spans
    return union(*edges(spans[(spans["pid"] == worker) & spans["site"].isin(BUSY)]))
