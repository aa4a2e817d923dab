"""What makes a trace less than whole, or its figures wrong: a line each, for the top of the review."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd

from probes.console import counted
from tracing.breakdown.requests.hops import impossible
from tracing.breakdown.starts import EngineStart
from tracing.events.processfile import pid_of
from tracing.events.tracefile import RUNNING, read_trace
from tracing.timeline.requests import NO_END, NO_START, Flow
from tracing.timeline.spans import Timeline
from tracing.timeline.steps.workers import core_of

MOST_CUT = 10  # requests that are named one by one where they were cut


def problems(timeline: Timeline, flows: list[Flow], hops: pd.DataFrame, started: tuple[EngineStart, ...]) -> list[str]:
    """What makes this trace less than whole, a line each; what makes its figures wrong comes first."""
    trace = read_trace(timeline.folder)
    lines = [*mismatches(timeline), *impossible(hops), *taken_for_one(started), *(trace.problems if trace else ())]
    if timeline.dropped:
        lines.append(f"{timeline.dropped} spans were dropped: the figures below leave them out")
    if timeline.torn:
        lines.append(f"{timeline.torn} records were being written when their process died")
    lines += [f"process {p.pid} left no description of itself" for p in timeline.processes if p.is_lost]
    lines += empty_files(timeline)
    if trace and trace.state == RUNNING:
        lines.append("the recording did not end: the recorder still runs, or was killed")
    lines += clocks(timeline)
    early = [flow for flow in flows if flow.missing == NO_START]
    if early:
        lines.append(
            f"{counted(len(early), 'request')} already in progress when the recording began{_oldest(timeline, early)}: "
            "cut at the start"
        )
    cut = [flow for flow in flows if flow.state == "cut" and flow.missing != NO_START]
    if not died(timeline):
        late = [flow for flow in cut if _goes_on(flow, timeline)]
        if late:
            lines.append(f"{counted(len(late), 'request')} still in progress when the recording ended: cut at the end")
        cut = [flow for flow in cut if flow not in late]
    deaths = died(timeline) if cut else []  # with nothing in flight it is how vLLM ends its processes
    why = "; ".join(deaths)
    lines += deaths
    lines += [f"request {flow.request} was cut: {why or 'no ' + ', '.join(flow.missing)}" for flow in cut[:MOST_CUT]]
    if len(cut) > MOST_CUT:
        lines.append(f"{counted(len(cut) - MOST_CUT, 'more request')} cut")
    return lines


def _goes_on(flow: Flow, timeline: Timeline) -> bool:
    """Whether a request that was cut still ran at the end. In a recording that is whole from its start, one that the
    scheduler has freed did not: whoever saw its end was not watched."""
    begins_late = any(process.first_ns for process in timeline.processes)
    return flow.missing[-1:] == NO_END and (begins_late or "scheduler.free" in flow.missing)


def _oldest(timeline: Timeline, early: list[Flow]) -> str:
    """For how long the oldest had run, where that is known."""
    first_ns = max(process.first_ns for process in timeline.processes)
    ran_s = (first_ns - min(flow.start_ns for flow in early)) / 1e9
    return f", the oldest for {ran_s:.1f} s" if ran_s >= 0.1 else ""


def empty_files(timeline: Timeline) -> list[str]:
    """A line for each process whose file holds not even its head: a full disk, or a copy that was cut."""
    empty = [path for path in sorted(timeline.folder.glob("events-*.bin")) if not path.stat().st_size]
    roles = {process.pid: process.serves for process in timeline.processes}
    of = {path.name: "".join(f" the {role}" for role in roles.get(pid_of(path), ())[:1]) for path in empty}
    return [f"{name} is empty: what{of[name] or ' its process'} did is not known" for name in of]


def clocks(timeline: Timeline) -> list[str]:
    """A line where processes ran on another machine than the front end: how well their clock is known."""
    off_by = {ns for process in timeline.processes if (ns := process.clock_uncertainty_ns) is not None}
    return [
        f"processes ran on another machine: their clock is known by the messages that crossed, to ±{ns / 1e3:,.1f} µs"
        for ns in sorted(off_by)
    ]


def died(timeline: Timeline) -> list[str]:
    """`the worker died (pid 12)` for each engine process that did not end by itself, in the order of roles."""
    killed = [p for p in timeline.processes if p.stopped_ns is None and p.serves]
    return [f"the {p.serves[0]} died (pid {p.pid})" for p in killed]


def taken_for_one(started: tuple[EngineStart, ...]) -> list[str]:
    """A line a process in which several engines had their cores: nothing tells the steps of one from another's."""
    return [
        f"process {core} ran {count} engines: their steps, batches and KV blocks are told as those of one, and where "
        "one of them waited for another it seems to have waited for itself"
        for core, count in Counter(each.core_pid for each in started).items()
        if count > 1
    ]


def mismatches(timeline: Timeline) -> list[str]:
    """A line where workers executed other steps than those that the core scheduled under their numbers.

    The tokens of each `execute_model` are compared with those of the scheduler's batch of the same step.
    """
    scheduled, executed = (_with_steps(timeline, site) for site in ("scheduler.schedule", "worker.execute"))
    core = executed["pid"].map(core_of(timeline)).fillna(-1).astype(np.int64)
    executed = pd.DataFrame({"pid": core, "step": executed["step"], "ran": executed["value"]})
    pairs = executed.merge(scheduled[["pid", "step", "value"]], on=["pid", "step"])
    wrong = pairs[pairs["ran"] != pairs["value"]]
    if not len(wrong):
        return []
    first = wrong.sort_values("step").iloc[0]
    return [
        f"{len(wrong)} of {len(pairs)} worker steps ran other tokens than the core scheduled (step {first['step']}: "
        f"{first['ran']}, not {first['value']}): steps are paired wrongly, and what is said of steps is wrong"
    ]


def _with_steps(timeline: Timeline, site: str) -> pd.DataFrame:
    rows = timeline.spans[timeline.spans["site"] == site]
    return rows[rows["step"] >= 0]
