"""What an engine step is made of: its phases, its kind, and what the core did while the worker was idle."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from tracing.timeline.intervals import Pieces, edges, gaps, overlap, topmost, union
from tracing.timeline.nesting import outermost
from tracing.timeline.spans import Timeline

# Phase -> the sites whose time it is; of nested ones the outermost counts, waits inside `dispatch` are taken out.
PHASES = {
    "schedule": ("scheduler.schedule",),
    "dispatch": ("executor.dispatch", "executor.sample"),
    "prepare": ("runner.update", "runner.prepare", "runner.attention"),
    "model": ("runner.forward", "model.forward", "model.logits"),
    "sample": ("worker.sample",),
    "reply": ("worker.reply",),
    "update": ("scheduler.update",),
    "output": ("core.encode", "core.send"),
}
BUSY = ("worker.execute", "worker.sample", "worker.reply")
KINDS = ("prefill", "mixed", "first decode", "decode", "empty")


def anatomy(timeline: Timeline) -> pd.DataFrame:
    """A row a step, by core process and number.

    `start_ns`, `end_ns` (from the call of `schedule` to the end of the update), `period_ns` (to the next step's start,
    -1 for the last), `kind`, the counts of the step, `<phase>_ns` for each of `PHASES`, `worker_idle_ns` (of the
    period, outside of what the worker ran), and `idle_<stage>` with what the core did in that time.
    """
    spans = timeline.spans
    schedules = _edges(spans, "scheduler.schedule", "start_ns", "start_ns")
    updates = _edges(spans, "scheduler.update", "end_ns", "end_ns")
    steps = timeline.steps.merge(schedules, on=["pid", "step"]).merge(updates, on=["pid", "step"])
    steps = steps.sort_values(["pid", "start_ns"], ignore_index=True)
    following = steps.groupby("pid")["start_ns"].shift(-1, fill_value=-1)
    steps["period_ns"] = np.where(following > 0, following - steps["start_ns"], -1)
    steps["kind"] = [_kind(*row) for row in steps[["prefill_requests", "decode_requests", "first_decodes"]].to_numpy()]
    cores = core_of(timeline)
    for phase, sites in PHASES.items():
        steps[f"{phase}_ns"] = _phase(timeline, steps, sites, cores)
    waits = _by_step(spans[spans["site"] == "executor.wait"], cores, timeline)
    inside = _inside(spans[spans["site"] == "executor.sample"], waits)
    steps["dispatch_ns"] -= _totals(steps, inside)
    return _idle(timeline, steps, cores)


def core_of(timeline: Timeline) -> dict[int, int]:
    """The core process that each process works for: itself, or a worker's parent."""
    cores = set(timeline.steps["pid"])
    parents = {process["pid"]: process.get("parent", 0) for process in timeline.processes}
    return {pid: pid if pid in cores else parents[pid] for pid in parents if pid in cores or parents[pid] in cores}


def _kind(prefills: int, decodes: int, first_decodes: int) -> str:
    if not prefills and not decodes:
        return "empty"
    if prefills:
        return "mixed" if decodes else "prefill"
    return "first decode" if first_decodes else "decode"


def _edges(spans: pd.DataFrame, site: str, edge: str, name: str) -> pd.DataFrame:
    rows = spans[(spans["site"] == site) & (spans["step"] >= 0)]
    return rows[["pid", "step", edge]].rename(columns={edge: name}).drop_duplicates(["pid", "step"])


def _by_step(rows: pd.DataFrame, cores: dict[int, int], timeline: Timeline) -> pd.DataFrame:
    """Spans with the core process and the step that they belong to; those of an output thread come by their message."""
    rows = rows[["pid", "step", "start_ns", "end_ns", "site"]].copy()
    rows["core"] = rows["pid"].map(cores).fillna(-1).astype(np.int64)
    keys = timeline.messages.drop_duplicates(["pid", "key"]).set_index(["pid", "key"])["step"]
    by_key = rows["site"].isin(("core.encode", "core.send")).to_numpy()
    if by_key.any() and len(keys):
        index = pd.MultiIndex.from_frame(rows.loc[by_key, ["pid", "step"]])
        rows.loc[by_key, "step"] = keys.reindex(index).fillna(-1).astype(np.int64).to_numpy()
    return rows


def _phase(timeline: Timeline, steps: pd.DataFrame, sites: tuple[str, ...], cores: dict[int, int]) -> np.ndarray:
    rows = timeline.spans[timeline.spans["site"].isin(sites)]
    rows = _by_step(outermost(rows), cores, timeline)
    # With several workers a phase lasts as long as that of the slowest.
    each = (rows["end_ns"] - rows["start_ns"]).groupby([rows["core"], rows["step"], rows["pid"]]).sum()
    return _of(steps, each.groupby(level=[0, 1]).max())


def _inside(outer: pd.DataFrame, waits: pd.DataFrame) -> pd.DataFrame:
    """The waits that lie inside a span of `outer` in their process."""
    start, end = edges(waits)
    inside = np.zeros(len(waits), dtype=bool)
    for pid, rows in outer.groupby("pid"):
        whole = overlap(union(*edges(rows)), start, end) == end - start
        inside |= whole & (waits["pid"] == pid).to_numpy()
    return waits[inside]


def _totals(steps: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    return _of(steps, (rows["end_ns"] - rows["start_ns"]).groupby([rows["core"], rows["step"]]).sum())


def _of(steps: pd.DataFrame, values: pd.Series) -> np.ndarray:
    index = pd.MultiIndex.from_frame(steps[["pid", "step"]])
    return np.asarray(values.reindex(index).fillna(0).to_numpy(), dtype=np.int64)


# --- the worker's idle time, and the core's part in it ---


def _idle(timeline: Timeline, steps: pd.DataFrame, cores: dict[int, int]) -> pd.DataFrame:
    spans = timeline.spans
    idle: dict[str, np.ndarray] = {}
    idle_ns = np.zeros(len(steps), dtype=np.int64)
    for pid in steps["pid"].unique():
        workers = [process for process, core in cores.items() if core == pid]
        busy = union(*edges(spans[spans["pid"].isin(workers) & spans["site"].isin(BUSY)]))
        mine = np.flatnonzero(((steps["pid"] == pid) & (steps["period_ns"] > 0)).to_numpy())
        starts = steps["start_ns"].to_numpy()[mine]
        ends = starts + steps["period_ns"].to_numpy()[mine]
        idle_ns[mine] = (ends - starts) - overlap(busy, starts, ends)
        core_main = spans[(spans["pid"] == pid) & (spans["role"] == "core") & (spans["share"] != "frame")]
        for stage, pieces in innermost(core_main):
            column = idle.setdefault(f"idle_{stage}", np.zeros(len(steps), dtype=np.int64))
            column[mine] = overlap(gaps(pieces, busy), starts, ends)
    steps["worker_idle_ns"] = idle_ns
    return steps.assign(**idle)


def innermost(rows: pd.DataFrame) -> Iterator[tuple[str, Pieces]]:
    """Of one thread's nesting spans, each stage's own time: where no span inside it goes on."""
    bounds, top = topmost(*edges(rows), np.arange(len(rows)))
    stages = rows["stage"].astype(str).to_numpy()
    here = np.append(stages, "")[top]
    for stage in np.unique(here[top >= 0]):
        own = (here == stage) & (top >= 0)
        yield str(stage), (bounds[:-1][own], bounds[1:][own])
