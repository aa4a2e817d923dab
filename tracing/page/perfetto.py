"""A timeline as a Perfetto trace: a track a thread, a track a request, an arrow for every hop, and counters.

Written packet by packet with Perfetto's own message classes; open the file in its UI.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from tracing.page.tracks import device, gpu, samples, torch
from tracing.page.tracks.file import Writer, uuid_of_process
from tracing.timeline.nesting import Nesting
from tracing.timeline.requests import Flow
from tracing.timeline.spans import Timeline

REQUESTS_TRACK = 1
COUNTERS = {  # counter -> how it is read from the core's counts
    "running requests": ("prefill_requests", "decode_requests"),
    "waiting requests": ("waiting",),
    "KV blocks used": ("kv_used_blocks",),
    "tokens scheduled": ("prefill_tokens", "decode_tokens"),
}


def export(timeline: Timeline, flows: list[Flow], hops: pd.DataFrame, path: Path) -> None:
    """Write `path`. `flows` are the requests, `hops` their hops (`hop`, `from_ns`, `to_ns`)."""
    with path.open("wb") as file:
        writer = Writer(file)
        arrows = _arrows(timeline.spans, hops)
        for uuid, (name, rows) in enumerate(_threads(timeline), 1000):
            writer.track(uuid, name, uuid_of_process(rows["pid"].iloc[0]))
            _slices(writer, uuid, rows, arrows)
        for process in timeline.processes:
            words = ", ".join(process.serves) or "process"
            writer.track(uuid_of_process(process.pid), f"{words} ({process.pid})")
        _requests(writer, flows)
        _counters(writer, timeline)
        device.write(writer, timeline)
        torch.write(writer, timeline)
        samples.write(writer, timeline)
        gpu.write(writer, timeline)


def _threads(timeline: Timeline) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each thread's spans with its name: the role that most of them have, and the thread's own."""
    for (_, thread), rows in timeline.spans.groupby(["pid", "thread"], sort=True):
        role = rows["role"].value_counts().index[0]
        yield f"{role}: {rows['thread_name'].iloc[0]} ({thread})", rows


def _slices(writer: Writer, track: int, rows: pd.DataFrame, arrows: dict[int, list[int]]) -> None:
    """A thread's spans, which nest: begun outermost first, and ended before the next that is not inside."""
    nesting = Nesting[None]()
    columns = [rows[name].to_numpy() for name in ("start_ns", "end_ns", "site", "stage", "request", "step", "value")]
    for row, (start, end, site, stage, request, step, value) in zip(
        rows.index, zip(*columns, strict=True), strict=True
    ):
        for ended_ns, _ in nesting.begin(start, end, None):
            writer.end(track, ended_ns)
        notes = {"step": step, "value": value} | ({"request": request} if isinstance(request, str) else {})
        writer.begin(track, start, site, stage, arrows.get(row, []), **notes)
    for ended_ns, _ in nesting.close():
        writer.end(track, ended_ns)


# Which spans an arrow joins: those that end, or begin, at the hop's times.
HOP_SITES = {
    "front end → core": (("client.send", "client.send_async"), ("core.receive",)),
    "core → worker": (("executor.dispatch",), ("worker.execute",)),
    "worker → core": (("worker.reply",), ("executor.wait", "executor.sample")),
    "core → front end": (("core.send", "core.encode"), ("client.receive",)),
}


def _arrows(spans: pd.DataFrame, hops: pd.DataFrame) -> dict[int, list[int]]:
    """Flow ids by row of `spans`: every hop has one of its own, at the span it leaves and the span it reaches."""
    arrows: dict[int, list[int]] = {}
    if not len(hops):
        return arrows
    distinct = hops.drop_duplicates(["hop", "from_ns", "to_ns"])
    edges: dict[tuple[str, int], int] = {}
    times = {edge: spans[edge].to_numpy() for edge in ("start_ns", "end_ns")}
    for row, site in enumerate(spans["site"].astype(str)):
        for edge in times:
            edges[site, int(times[edge][row])] = row
    for number, (hop, left, reached) in enumerate(
        zip(distinct["hop"], distinct["from_ns"], distinct["to_ns"], strict=True), 1
    ):
        from_sites, to_sites = HOP_SITES[hop]
        ends = [
            next((edges[site, int(time)] for site in sites if (site, int(time)) in edges), None)
            for sites, time in ((from_sites, left), (to_sites, reached))
        ]
        if None not in ends and ends[0] != ends[1]:
            for end in ends:
                arrows.setdefault(end or 0, []).append(number)
    return arrows


def _requests(writer: Writer, flows: list[Flow]) -> None:
    writer.track(REQUESTS_TRACK, "requests")
    for number, flow in enumerate(flows, 1 << 40):
        writer.track(number, str(flow.request), REQUESTS_TRACK)
        notes = {"state": flow.state, "tokens": flow.output_tokens}
        writer.begin(number, flow.start_ns, str(flow.request), "request", [], **notes)
        writer.end(number, flow.end_ns)


def _counters(writer: Writer, timeline: Timeline) -> None:
    """The core's counts at the start of each step."""
    spans = timeline.spans
    schedules = spans[spans["site"] == "scheduler.schedule"][["pid", "step", "start_ns"]]
    steps = timeline.steps.merge(schedules, on=["pid", "step"])
    for number, (name, fields) in enumerate(COUNTERS.items(), 1 << 48):
        writer.track(number, name, counter=True)
        values = np.sum([steps[field].to_numpy() for field in fields], axis=0) if len(steps) else []
        for time_ns, value in zip(steps["start_ns"], values, strict=True):
            writer.count(number, int(time_ns), int(value))
