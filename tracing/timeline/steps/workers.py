"""The workers of each core: what they ran in each step, how long, and which one was the slowest."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tracing.timeline.intervals import Pieces, edges, union
from tracing.timeline.spans import Timeline

RUN = ("worker.execute", "worker.sample")
BUSY = (*RUN, "worker.reply", "worker.hand_over", "worker.dummy")


def core_of(timeline: Timeline) -> dict[int, int]:
    """The core process that each process works for: itself, or the nearest core among those that started it.

    A worker that no core started, as Ray's and those on other machines, works for the core where there is one only.
    """
    serving = {process["pid"] for process in timeline.processes if "core" in process["serves"]}
    cores = serving | set(timeline.steps["pid"].tolist())
    parents = {process["pid"]: process.get("parent", 0) for process in timeline.processes}
    owners = {}
    for pid in parents:
        owner, seen = pid, set[int]()
        while owner not in cores and owner in parents and owner not in seen:
            seen.add(owner)
            owner = parents[owner]
        if owner in cores:
            owners[pid] = owner
    if len(cores) == 1:
        workers = [process["pid"] for process in timeline.processes if process["serves"] == ["worker"]]
        owners |= dict.fromkeys((pid for pid in workers if pid not in owners), *cores)
    return owners


def of_core(timeline: Timeline, core: int, cores: dict[int, int]) -> list[int]:
    """The processes in which a core's workers run: the core itself where they are inside."""
    spans = timeline.spans
    working = set(spans["pid"][spans["role"] == "worker"].unique().tolist())
    return sorted(pid for pid, owner in cores.items() if owner == core and pid in working)


def runs(timeline: Timeline, steps: pd.DataFrame, cores: dict[int, int]) -> pd.DataFrame:
    """A row a step and worker that ran something of it: `place` (the step's row), `worker` (its process), `run_ns`."""
    spans = timeline.spans
    rows = spans[spans["site"].isin(RUN) & (spans["step"] >= 0)]
    frame = pd.DataFrame(
        {
            "place": places(steps, rows["pid"].map(cores).fillna(-1).to_numpy(np.int64), rows["step"].to_numpy()),
            "worker": rows["pid"].to_numpy(dtype=np.int64),
            "run_ns": (rows["end_ns"] - rows["start_ns"]).to_numpy(dtype=np.int64),
        }
    )
    return frame[frame["place"] >= 0].groupby(["place", "worker"], as_index=False)["run_ns"].sum()


def slowest(run: pd.DataFrame, count: int) -> tuple[np.ndarray, np.ndarray]:
    """By step: the worker that took longest (-1: none ran it), and by how many nanoseconds more than the fastest."""
    worker, spread = np.full(count, -1, dtype=np.int64), np.zeros(count, dtype=np.int64)
    last = run.sort_values("run_ns", kind="stable").drop_duplicates("place", keep="last")
    worker[last["place"]] = last["worker"]
    length = run.groupby("place")["run_ns"]
    span = length.max() - length.min()
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
