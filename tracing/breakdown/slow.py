"""The slowest steps and requests of a trace, each with its likely reason, read from what was recorded beside it."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from probes.console import us
from tracing.breakdown.review import SlowRequests, SlowStep
from tracing.breakdown.starvation import MachineSamples, queued_in_steps
from tracing.events.contention import THROTTLED
from tracing.timeline.intervals import edges
from tracing.timeline.spans import Timeline, on_device
from tracing.timeline.steps.anatomy import scheduled_tokens, working
from tracing.timeline.steps.phases import PHASES, title
from tracing.timeline.steps.workers import core_of

MOST = 10
SLOW = 0.05  # of the requests, from which the longest are called slow, where that is more than ten
TELLING = 0.02  # of a request's latency, from which a part that exceeds the median's is called the reason
QUEUED_PART = 0.5  # of a step's excess, from which more time in the run queue is, or more that the hypervisor took
KEPT = ("queued_ns", "throttled_ns", "stolen_ns")  # what kept a step's threads from running
LEAST_REASON_NS = 1_000_000  # of the machine, or of a collection, that is called the reason of a step
GC_PART = 0.2  # of a step's excess over its kind's median, from which a collection is called the reason


def slow_steps(timeline: Timeline, steps: pd.DataFrame, machine: MachineSamples) -> tuple[SlowStep, ...]:
    """The ten longest steps of those that took longer than the median of their peers.

    Peers are the steps of one kind with equally many tokens (within a tenth), of all engines. A step
    without a peer is not listed: nothing says how long it should take.
    """
    real = working(steps).copy()
    if not len(real):
        return ()
    real["ns"] = real["end_ns"] - real["start_ns"]
    real["queued_ns"] = queued_in_steps(machine, real, core_of(timeline))
    start, end = edges(real)
    real["throttled_ns"], real["stolen_ns"] = machine.samples.between(THROTTLED, start, end), machine.stolen(start, end)
    real["tokens"] = scheduled_tokens(real)
    real["peers"] = real.groupby(["kind", _size(real["tokens"])]).ngroup()
    medians = real.groupby("peers")[["ns", *KEPT, *(f"{phase}_ns" for phase in PHASES)]].median()
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


def _why_step(row: Mapping[Hashable, Any], median: pd.Series, first: bool, launches: bool) -> str:  # a row of pandas
    excess = row["ns"] - median["ns"]
    queued, throttled, stolen = (row[name] - median[name] for name in KEPT)
    if _tells(row["gc_ns"], GC_PART * excess):
        return f"garbage collection: {us(row['gc_ns'])}"
    if _tells(queued, QUEUED_PART * excess):
        return busy(row["queued_ns"], over_quota=throttled > QUEUED_PART * queued)
    if _tells(stolen, QUEUED_PART * excess):
        return f"the hypervisor took {us(row['stolen_ns'])} of a core on the mean (steal)"
    if row["preempted"]:
        return f"preempted {row['preempted']} request(s)"
    if first:
        return "the first step: warm-up or compilation"
    phase = max(PHASES, key=lambda name: row[f"{name}_ns"] - median[f"{name}_ns"])
    more = row[f"{phase}_ns"] - median[f"{phase}_ns"]
    if more <= 0.3 * max(excess, 1):
        return "no single phase: the machine was busy, or a wait between processes"
    return f"{title(phase, launches)} took {us(more)} more than usual"


def _tells(ns: float, least_ns: float) -> bool:
    """Whether what kept a step from going on is long enough to be its reason."""
    return ns > max(least_ns, LEAST_REASON_NS)


def busy(queued_ns: float, over_quota: bool = False) -> str:
    """The machine as a reason."""
    cause = "over the CPU quota" if over_quota else "the machine was busy"
    return f"{cause}: a thread of the engine was in the run queue for {us(queued_ns)}"


def slow_requests(budgets: pd.DataFrame) -> tuple[SlowRequests, ...]:
    """The longest requests, a row a reason: the part of their budgets that most exceeds the median request's.

    `budgets` has each request's nanoseconds by part; they add up to its latency.
    """
    if not len(budgets):
        return ()
    reasons = _reasons(budgets)
    longest = np.argsort(-reasons["ns"].to_numpy(), kind="stable")[: max(MOST, int(len(reasons) * SLOW))]
    groups = reasons.iloc[longest].groupby(["part", "tells"], sort=False)
    return tuple(
        SlowRequests(str(rows.index[0]), len(rows), int(rows["ns"].iloc[0]), _sentence(rows))
        for _, rows in itertools.islice(groups, MOST)
    )


def why_slow(budgets: pd.DataFrame, requests: set[str]) -> str:
    """The reason of the first of some requests that was recorded whole; empty where none was."""
    named = budgets.index.isin(requests)
    return _sentence(_reasons(budgets)[named][:1]) if named.any() else ""


def _reasons(budgets: pd.DataFrame) -> pd.DataFrame:
    """A row a request: how long it took, the part that is its reason, by how much a part exceeds the median request's
    at most, and whether that tells; where it does not, the part is the largest."""
    values = budgets.to_numpy()
    more, took = values - np.median(values, axis=0), values.sum(axis=1)
    tells = more.max(axis=1) > TELLING * took
    part = np.where(tells, more.argmax(axis=1), values.argmax(axis=1))
    columns = {"ns": took, "part": budgets.columns.to_numpy()[part], "more_ns": more.max(axis=1), "tells": tells}
    return pd.DataFrame(columns, index=budgets.index)


def _sentence(rows: pd.DataFrame) -> str:
    """The reason that some requests have in common."""
    part, tells = rows[["part", "tells"]].iloc[0]
    low, high = us(rows["more_ns"].min()), us(rows["more_ns"].max())
    more = f"{part}: {low if low == high else f'{low} to {high}'} more than the median"
    return more if tells else f"no part stands out; most of it is {part}"
