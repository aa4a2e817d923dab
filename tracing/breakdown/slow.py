"""The slowest steps and requests of a trace, each with its likely reason, read from what was recorded beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tracing.timeline.intervals import edges, overlap, union
from tracing.timeline.spans import Timeline
from tracing.timeline.steps import PHASES, core_of

MOST = 10
TELLING = 0.02  # of a request's latency, from which a part that exceeds the median's is called the reason
GC_PART = 0.2  # of a step's excess over its kind's median, from which a collection is called the reason


def slow_steps(timeline: Timeline, steps: pd.DataFrame) -> list[dict[str, Any]]:
    """The ten longest steps: `step`, `kind`, `ns`, `median_ns` of its kind, and `reason`."""
    real = steps[steps["kind"] != "empty"].copy()
    if not len(real):
        return []
    real["ns"] = real["end_ns"] - real["start_ns"]
    real["gc_ns"] = _collections(timeline, real)
    usual = real.groupby("kind")[["ns", *(f"{phase}_ns" for phase in PHASES)]].median()
    first = real.groupby("pid")["step"].min()
    found = []
    for row in real.nlargest(MOST, "ns").to_dict("records"):
        median = usual.loc[row["kind"]]
        reason = _why_step(row, median, row["step"] == first[row["pid"]])
        found.append(
            {
                "step": int(row["step"]),
                "kind": row["kind"],
                "start_ns": int(row["start_ns"]),
                "ns": int(row["ns"]),
                "median_ns": int(median["ns"]),
                "reason": reason,
            }
        )
    return found


def _collections(timeline: Timeline, steps: pd.DataFrame) -> np.ndarray:
    """Nanoseconds of garbage collection in each step, in its core and workers."""
    spans, total = timeline.spans, np.zeros(len(steps), dtype=np.int64)
    cores = core_of(timeline)
    for pid in steps["pid"].unique():
        mine = [process for process, core in cores.items() if core == pid]
        pauses = union(*edges(spans[(spans["site"] == "gc") & spans["pid"].isin(mine)]))
        here = (steps["pid"] == pid).to_numpy()
        total[here] = overlap(pauses, *edges(steps[here]))
    return total


def _why_step(row: dict[str, Any], median: pd.Series, first: bool) -> str:
    excess = row["ns"] - median["ns"]
    if row["gc_ns"] > GC_PART * max(excess, 0) and row["gc_ns"] > 1e6:
        return f"garbage collection: {row['gc_ns'] / 1e6:.1f} ms"
    if row["preempted"]:
        return f"preempted {row['preempted']} request(s)"
    if first:
        return "the first step: warm-up or compilation"
    phase = max(PHASES, key=lambda name: row[f"{name}_ns"] - median[f"{name}_ns"])
    more = row[f"{phase}_ns"] - median[f"{phase}_ns"]
    if row["kind"] in ("prefill", "mixed") and phase == "model":
        return f"{row['prefill_tokens']} prompt tokens to compute"
    if more <= 0.3 * max(excess, 1):
        return "no single phase: the machine was busy, or a wait between processes"
    return f"{phase} took {more / 1e6:.1f} ms more than usual"


def slow_requests(latencies: dict[str, int], parts: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    """The ten longest requests: `request`, `ns`, and the part of its budget that most exceeds the median's (`reason`).

    `parts` has each request's nanoseconds by part.
    """
    if not latencies:
        return []
    table = pd.DataFrame.from_dict(parts, orient="index").fillna(0)
    median = table.median()
    found = []
    for request in sorted(latencies, key=lambda name: -latencies[name])[:MOST]:
        more = (table.loc[request] - median).sort_values(ascending=False)
        part, excess = str(more.index[0]), float(more.iloc[0])
        usual = "as the others: " + str(table.loc[request].idxmax())
        reason = (
            f"{part}: {excess / 1e6:.1f} ms more than the median" if excess > TELLING * latencies[request] else usual
        )
        found.append({"request": request, "ns": int(latencies[request]), "reason": reason})
    return found
