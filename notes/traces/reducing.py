"""A trace folder of `tracing.demo --shape NAME`, reduced to one request of it.

| kept                                                        | left out                                       |
| ----------------------------------------------------------- | ---------------------------------------------- |
| the spans of one finished request in its time               | other requests, other steps, the engine's start |
| role, stage, site, thread's name, order, length             | paths, command lines, machine, host, pids      |
| how often the whole recording passed each site, and where   | collections of garbage, vLLM's own scopes      |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from notes.traces.shapetrace import PassedPlace, ShapeTrace
from probes.errors import EnginescopeError
from tracing import timeline as tracefolder
from tracing.breakdown.findings import about
from tracing.events.processfile import ProcessRecord
from tracing.events.tracefile import read_trace
from tracing.shapes.shape import shape_named
from tracing.timeline.index import Index
from tracing.timeline.requests import Flow, flows
from tracing.timeline.requestspans import own_rows
from tracing.timeline.spans import MAIN_ROLES, Timeline

UNSEEN = ("gc", "scope", "delay")  # sites that are no function of vLLM's
OF_CORE = ("core", "worker")  # the roles whose spans carry a step's number; the others carry a message's key


def reduced(folder: Path, shape: str) -> ShapeTrace:
    """The trace of a shape out of a folder; an `EnginescopeError` where it has no finished request."""
    recording, command = read_trace(folder), f"tracing.demo --shape {shape_named(shape).name}"
    if recording is None or not recording.command.endswith(command):
        raise EnginescopeError(f"{folder} does not record {command}")
    timeline = tracefolder.read(folder)
    index = Index(timeline)
    finished = [flow for flow in flows(index) if flow.is_complete and flow.parent is None and len(flow.steps)]
    if not finished:
        raise EnginescopeError(f"{folder} has no request that ended: record python -m tracing.demo --shape {shape}")
    flow = richest(index, finished)
    pids = {process.pid: number for number, process in enumerate(_by_role(timeline), 1)}
    return ShapeTrace(shape, _about(timeline, command), _of(index, flow, pids), places(timeline, pids))


def _about(timeline: Timeline, command: str) -> str:
    """The command without its interpreter; vLLM's version and the machine."""
    return "; ".join((f"python -m {command}", *about(timeline).split("; ")[1:]))


def richest(index: Index, finished: list[Flow]) -> Flow:
    """The request that passed the most places; of several the one of median length."""
    counts = [len(np.unique(index.site(own_rows(index, flow)))) for flow in finished]
    most = [flow for flow, count in zip(finished, counts, strict=True) if count == max(counts)]
    return sorted(most, key=lambda flow: flow.latency_ns)[len(most) // 2]


def places(timeline: Timeline, pids: Mapping[int, int]) -> tuple[PassedPlace, ...]:
    """Where the whole recording passed which sites."""
    spans = timeline.spans[~timeline.spans["site"].isin(UNSEEN)]
    counts = spans.groupby(["site", "role", "pid", "thread_name"], observed=True).size()
    return tuple(
        PassedPlace(str(site), str(role), pids[int(pid)], str(thread), int(count))
        for (site, role, pid, thread), count in counts.items()
    )


def _by_role(timeline: Timeline) -> list[ProcessRecord]:
    """The processes that serve anything, front ends first."""
    order = ("server parent", "front end", "coordinator", "core", "worker")
    serving = [process for process in timeline.processes if process.serves]
    return sorted(serving, key=lambda process: (order.index(process.serves[0]), process.pid))


def _of(index: Index, flow: Flow, pids: Mapping[int, int]) -> Timeline:
    """The timeline of one request."""
    timeline = index.timeline
    steps = timeline.steps[(timeline.steps["pid"] == flow.core_pid) & timeline.steps["step"].isin(flow.steps)]
    messages = timeline.messages[timeline.messages["key"].isin(flow.keys)]
    batches = timeline.batches[timeline.batches["request"] == flow.request]
    spans = _spans(index, flow)
    statuses = spans.loc[spans["site"] == "scheduler.free", ["pid", "extra"]].drop_duplicates().itertuples(index=False)
    texts = {(pids[int(pid)], int(extra)): timeline.texts[int(pid), int(extra)] for pid, extra in statuses}
    return replace(
        timeline,
        folder=Path(),
        spans=_numbered(spans, flow.start_ns, pids),
        batches=_of_processes(batches, pids),
        steps=_of_processes(steps, pids),
        messages=_of_processes(messages, pids),
        renamed=_of_processes(timeline.renamed[timeline.renamed["internal"] == flow.request], pids),
        children=timeline.children[:0],
        stopped=timeline.stopped[:0],
        device=timeline.device[:0],
        traced=timeline.traced[:0],
        texts=texts,
        processes=[_process(process, pids, _inside(timeline, process.pid)) for process in _by_role(timeline)],
    )


def _spans(index: Index, flow: Flow) -> pd.DataFrame:
    """What a request passed, and what went on around it: no step, message or call of others."""
    spans = index.timeline.spans
    owners = spans["pid"].map(index.cores)
    ours = spans["pid"].isin([flow.front_pid]) | (owners == flow.core_pid)
    in_time = (spans["start_ns"] >= flow.start_ns) & (spans["start_ns"] <= flow.end_ns)
    numbers = np.where(spans["role"].isin(OF_CORE), spans["step"].isin(flow.steps), spans["step"].isin(flow.keys))
    unnamed = spans["request"].isna() | spans["request"].isin(flow.names)
    own = np.zeros(len(spans), dtype=bool)
    own[own_rows(index, flow)] = True
    around = ours & in_time & unnamed & ((spans["step"] < 0) | numbers)
    return spans[(own | around) & ~spans["site"].isin(UNSEEN)]


def _numbered(spans: pd.DataFrame, start_ns: int, pids: Mapping[int, int]) -> pd.DataFrame:
    """Spans with small numbers for processes and threads, from the request's start on."""
    threads = pd.MultiIndex.from_frame(spans[["pid", "thread"]])
    return spans.assign(
        start_ns=spans["start_ns"] - start_ns,
        end_ns=spans["end_ns"] - start_ns,
        pid=spans["pid"].map(pids).astype(np.int64),
        thread=pd.factorize(threads)[0].astype(np.int64) + 1,
    ).reset_index(drop=True)


def _of_processes(frame: pd.DataFrame, pids: Mapping[int, int]) -> pd.DataFrame:
    return frame.assign(pid=frame["pid"].map(pids).astype(np.int64)).reset_index(drop=True)


def _process(process: ProcessRecord, pids: Mapping[int, int], inside: list[str]) -> ProcessRecord:
    """What is kept of what a process said of itself."""
    pid, parent = pids[process.pid], pids.get(process.parent, 0)
    return ProcessRecord(pid, parent, (*process.serves, *inside), modes=process.modes, device=process.device)


def _inside(timeline: Timeline, pid: int) -> list[str]:
    """The roles that a process was seen in and that no process says it serves: a worker's, where it is in the core."""
    served = {role for process in timeline.processes for role in process.serves}
    active = timeline.spans.loc[timeline.spans["pid"] == pid, "role"].unique()
    return [role for role in MAIN_ROLES if role in active and role not in served]
