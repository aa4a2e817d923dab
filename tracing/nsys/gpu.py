"""What the GPU did and why it waited, from the CUDA activity of an nsys report.

A kernel or copy belongs to the stage and step of the innermost range around the call that launched it (the same
process and correlation id). A device is busy while anything runs on it; why it was not is in `tracing.breakdown.gaps`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from probes.errors import EnginescopeError
from tracing.breakdown.gaps import ALL, Explained, explained, waiting, windows
from tracing.breakdown.kernels.families import CODES, COPY, GRAPH, family_of
from tracing.breakdown.kernels.work import COLUMNS, NO_STEP
from tracing.breakdown.otherwatchers import GpuDevice, GpuStage, GpuSummary
from tracing.breakdown.starvation import MachineSamples
from tracing.nsys import file
from tracing.nsys.file import Report
from tracing.nsys.ranges import clock, stage_names
from tracing.sites.engine import SCOPE_SITE
from tracing.timeline.index import Index
from tracing.timeline.intervals import Pieces, edges, topmost, union
from tracing.timeline.spans import Timeline
from tracing.timeline.steps.anatomy import KINDS
from tracing.timeline.steps.workers import core_of

# What is no kernel; no kernel is called so.
OF_KIND = {"copy": COPY, "set": COPY, "graph": GRAPH}
NO_RANGE = "outside of any range"
NO_ROW = -1
MOST_ROWS = 30  # of work outside of steps, where any range of any program may be a stage


@dataclass(frozen=True)
class Beside:
    """A report that lies in a trace folder, and how it gets onto the recorder's clock."""

    report: Report
    offset_ns: int
    uncertainty_ns: int


def beside(timeline: Timeline) -> Beside | None:
    """The folder's `nsys.sqlite`; None without GPU activity in one, `EnginescopeError` where it cannot be read."""
    path = timeline.folder / "nsys.sqlite"
    if not path.exists() or not file.has_activity(path):
        return None
    report = file.read(path)
    offset_ns, off_by_ns = clock(report)
    if off_by_ns is None:
        raise EnginescopeError(f"{path} has no marks of enginescope, so its clock is not known: its GPU is left out")
    return Beside(report, offset_ns, off_by_ns)


def gpu(
    activity: pd.DataFrame, index: Index, steps: pd.DataFrame, hops: pd.DataFrame, machine: MachineSamples
) -> GpuSummary:
    """What the review holds of the GPU; `activity` is what `attributed` gives."""
    devices: list[GpuDevice] = []
    for device, mine in activity.groupby("device"):
        busy = union(*edges(mine))
        devices += _waiting(int(device), mine, steps, busy, explained(index, hops, set(mine["pid"]), machine, busy))
    return GpuSummary(stages(activity, steps), tuple(devices))


def _waiting(device: int, activity: pd.DataFrame, steps: pd.DataFrame, busy: Pieces, why: Explained) -> list[GpuDevice]:
    """A device by kind of step; without steps all its activity is one window."""
    whole = np.array([activity["start_ns"].min()]), np.array([activity["end_ns"].max()])
    of_kinds = list(windows(steps, set(activity["core"]))) or [(ALL, whole)]
    return [waiting(device, kind, window, busy, why) for kind, window in of_kinds]


# --- kernels and copies by stage and step ---


def attributed(report: Report, timeline: Timeline, offset_ns: int) -> pd.DataFrame:
    """The activity on the timeline's clock, with the `stage` and `step` (-1: none) of its launch, when and in which
    thread that call was made (`launch_ns`, `launch_thread`, -1: not known), and its `core`."""
    spans = timeline.spans
    activity, launches = report.activity, report.launches.drop_duplicates(["pid", "correlation"]).assign(row=NO_ROW)
    for (pid, thread), calls in launches.groupby(["pid", "thread"]):
        times = calls["start_ns"].to_numpy(dtype=np.int64) + offset_ns
        launches.loc[calls.index, "row"] = innermost_at(spans, pid, thread, times)
    calls = launches[["pid", "correlation", "row"]].assign(
        launch_ns=launches["start_ns"].astype(np.int64) + offset_ns, launch_thread=launches["thread"]
    )
    called = activity.merge(calls, on=["pid", "correlation"], how="left")
    at = called["row"].fillna(NO_ROW).astype(np.int64).to_numpy()
    stage = np.append(stage_names(timeline), NO_RANGE)
    counted = spans["role"].isin(("core", "worker")).to_numpy()
    step = np.append(np.where(counted, spans["step"].to_numpy(), -1), -1)
    cores = core_of(timeline)
    return activity.assign(
        start_ns=activity["start_ns"].astype(np.int64) + offset_ns,
        end_ns=activity["end_ns"].astype(np.int64) + offset_ns,
        stage=stage[at],
        step=step[at],
        launch_ns=called["launch_ns"].astype("Int64").fillna(-1).to_numpy(np.int64),
        launch_thread=called["launch_thread"].astype("Int64").fillna(-1).to_numpy(np.int64),
        core=activity["pid"].map(cores).fillna(0).astype(np.int64),
    )


def work(activity: pd.DataFrame) -> pd.DataFrame:
    """What `attributed` gives as a frame of `tracing.breakdown.kernels.work`."""
    names = activity["whole_name"].where(activity["kind"] == "kernel", activity["kind"])
    families = {name: CODES[OF_KIND.get(name) or family_of(name)] for name in names.unique()}
    device = activity.groupby(["pid", "device"], sort=True).ngroup()
    return activity.assign(device=device, family=names.map(families).astype(np.int8))[list(COLUMNS)]


def innermost_at(spans: pd.DataFrame, pid: int, thread: int, times: np.ndarray) -> np.ndarray:
    """The rows of a thread's innermost spans at some times, -1 for none; a scope only where nothing else is."""
    mine = (spans["pid"] == pid) & (spans["thread"] == thread)
    scopes = (spans["site"] == SCOPE_SITE.name)[mine].to_numpy()
    rows = np.flatnonzero(mine)
    start, end = spans["start_ns"].to_numpy()[rows], spans["end_ns"].to_numpy()[rows]
    bounds, top = topmost(start, end, np.argsort(~scopes, kind="stable"))  # rows are by start, the longest first
    piece = np.searchsorted(bounds, times, side="right") - 1
    inside = (piece >= 0) & (piece < len(top))
    which = np.where(inside, np.append(top, NO_ROW)[np.where(inside, piece, len(top))], NO_ROW)
    return np.where(which >= 0, np.append(rows, NO_ROW)[which], NO_ROW)


def stages(activity: pd.DataFrame, steps: pd.DataFrame) -> tuple[GpuStage, ...]:
    """A row a kind of step and stage; what belongs to no step comes last, as sums: the largest, and the rest as one."""
    kernels, copies = activity["kind"].isin(("kernel", "graph")), activity["kind"].isin(("copy", "set"))
    took = activity["end_ns"] - activity["start_ns"]
    counted = activity[["core", "step", "stage"]].assign(
        kernels=kernels.astype(np.int64),
        kernel_ns=took.where(kernels, 0).astype(np.int64),
        copies=copies.astype(np.int64),
        copy_ns=took.where(copies, 0).astype(np.int64),
        bytes=activity["bytes"].fillna(0).astype(np.int64),
    )
    each = counted.groupby(["core", "step", "stage"], as_index=False).sum()
    numbers = ["kernels", "kernel_ns", "copies", "copy_ns", "bytes"]
    rows: list[GpuStage] = []
    known = steps.rename(columns={"pid": "core"})[["core", "step", "kind"]] if len(steps) else None
    if known is not None:
        each = each.merge(known, on=["core", "step"], how="left", suffixes=("", "_of_step"))
        for kind in KINDS:
            mine, count = each[each["kind"] == kind], int((known["kind"] == kind).sum())
            for stage, those in mine.groupby("stage", sort=False):
                rows.append(GpuStage(kind, str(stage), count, **_medians(those, numbers, count)))
        each = each[each["kind"].isna()]
    return (*rows, *_without_step(each.groupby("stage", sort=False)[numbers].sum()))


def _without_step(sums: pd.DataFrame) -> list[GpuStage]:
    """Rows of the work of no step, the largest first, at most `MOST_ROWS` and one for the others."""
    order = (sums["kernel_ns"] + sums["copy_ns"]).sort_values(ascending=False, kind="stable").index
    sums = sums.loc[order]
    if len(sums) > MOST_ROWS + 1:
        rest = sums.iloc[MOST_ROWS:].sum().rename(f"… {len(sums) - MOST_ROWS} others").to_frame().T
        sums = pd.concat([sums.iloc[:MOST_ROWS], rest])
    return [
        GpuStage(NO_STEP, str(stage), 0, **{name: int(value) for name, value in row.items()})
        for stage, row in sums.iterrows()
    ]


def _medians(those: pd.DataFrame, numbers: list[str], count: int) -> dict[str, float]:
    """Medians over all steps of a kind: one in which the stage launched nothing counts as 0."""
    return {name: float(np.median(np.append(those[name], np.zeros(count - len(those))))) for name in numbers}
