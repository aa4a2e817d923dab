"""The slowest steps and requests of a trace, each with its likely reason, read from what was recorded beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from probes.console import us
from tracing.breakdown.review import SlowRequest, SlowStep
from tracing.breakdown.starvation import queued_in_steps
from tracing.events.contention import THROTTLED
from tracing.timeline.contention import Contention
from tracing.timeline.spans import Timeline, on_device
from tracing.timeline.steps.phases import PHASES, title
from tracing.timeline.steps.workers import core_of

MOST = 10
TELLING = 0.02  # of a request's latency, from which a part that exceeds the median's is called the reason
QUEUED_PART = 0.5  # the same for time in the run queue
GC_PART = 0.2  # of a step's excess over its kind's median, from which a collection is called the reason


def slow_steps(timeline: Timeline, steps: pd.DataFrame, samples: Contention) -> tuple[SlowStep, ...]:
    """The ten longest steps of those that took longer than the median of their peers.

    Peers are the steps of one kind with equally many tokens (within a tenth), of all engines. A step
    without a peer is not listed: nothing says how long it should take.
    """
    real = steps[steps["kind"] != "empty"].copy()
    if not len(real):
        return ()
    real["ns"] = real["end_ns"] - real["start_ns"]
    real["queued_ns"] = queued_in_steps(timeline, samples, real, core_of(timeline))
    real["throttled_ns"] = samples.between(THROTTLED, real["start_ns"].to_numpy(), real["end_ns"].to_numpy())
    real["tokens"] = real["prefill_tokens"] + real["decode_tokens"]
    real["peers"] = real.groupby(["kind", _size(real["tokens"])]).ngroup()
    medians = real.groupby("peers")[["ns", *(f"{phase}_ns" for phase in PHASES)]].median()
    slow = real[real["ns"] > medians["ns"].reindex(real["peers"]).to_numpy()]
    first = real.groupby("pid")["step"].min()
    rows = []
    for row in slow.nlargest(MOST, "ns").to_dict("records"):
        median = medians.loc[row["peers"]]
        numbers = {name: int(row[name]) for name in ("step", "tokens", "start_ns", "ns")}
        reason = _why_step(row, median, row["step"] == first[row["pid"]], on_device(timeline))
        rows.append(SlowStep(int(row["pid"]), row["kind"], **numbers, median_ns=int(median["ns"]), reason=reason))
    return tuple(rows)


def _size(tokens: pd.Series) -> np.ndarray:
    """Token counts as numbers that are the same where the counts agree within a tenth; small ones only if equal."""
    return np.where(tokens < 10, tokens, np.round(np.log(np.maximum(tokens, 1)) / np.log(1.1)) + 10).astype(np.int64)


def _why_step(row: dict[str, Any], median: pd.Series, first: bool, launches: bool) -> str:
    excess = row["ns"] - median["ns"]
    if row["gc_ns"] > GC_PART * max(excess, 0) and row["gc_ns"] > 1e6:
        return f"garbage collection: {us(row['gc_ns'])}"
    if row["queued_ns"] > QUEUED_PART * max(excess, 0) and row["queued_ns"] > 1e6:
        return busy(row["queued_ns"], over_quota=row["throttled_ns"] > QUEUED_PART * row["queued_ns"])
    if row["preempted"]:
        return f"preempted {row['preempted']} request(s)"
    if first:
        return "the first step: warm-up or compilation"
    phase = max(PHASES, key=lambda name: row[f"{name}_ns"] - median[f"{name}_ns"])
    more = row[f"{phase}_ns"] - median[f"{phase}_ns"]
    if more <= 0.3 * max(excess, 1):
        return "no single phase: the machine was busy, or a wait between processes"
    return f"{title(phase, launches)} took {us(more)} more than usual"


def busy(queued_ns: float, over_quota: bool = False) -> str:
    """The machine as a reason."""
    cause = "over the CPU quota" if over_quota else "the machine was busy"
    return f"{cause}: a thread of the engine stood in the run queue for {us(queued_ns)}"


def slow_requests(budgets: pd.DataFrame) -> tuple[SlowRequest, ...]:
    """The ten longest requests, each with the part of its budget that most exceeds the median's.

    `budgets` has each request's nanoseconds by part; they add up to its latency.
    """
    median = budgets.median()
    rows = []
    for place in np.argsort(-budgets.sum(axis=1).to_numpy(), kind="stable")[:MOST].tolist():
        parts = budgets.iloc[place]
        more = (parts - median).sort_values(ascending=False)
        part, excess, latency = str(more.index[0]), float(more.iloc[0]), int(parts.sum())
        usual = f"no part stands out; most of it is {parts.idxmax()}"
        reason = f"{part}: {us(excess)} more than the median" if excess > TELLING * latency else usual
        rows.append(SlowRequest(str(parts.name), latency, reason))
    return tuple(rows)
