"""Hops: what lies between two processes, from the end of sending to the receiver's start.

Core → worker counts from the start of dispatch: the worker reads the shared memory, and begins, before the core's call
of it returns, so that from its end on nothing would be left of most of these hops. It ends when the worker begins the
step, and where that was at another step until then it begins when the worker was free.

A receiver that begins before the sender's call returns has a latency of 0. One that begins before the sender's call
does is impossible: such a hop is negative, a problem of the trace, and in no median.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from probes.console import us
from tracing.breakdown.review import HopKind
from tracing.timeline.index import Index, Rows
from tracing.timeline.requests import Flow
from tracing.timeline.steps.workers import RUN

COLUMNS = ["request", "core", "hop", "from_ns", "to_ns", "latency_ns", "bytes", "from_row", "to_row"]


def hops(index: Index, flows: list[Flow]) -> pd.DataFrame:
    """A row a hop of every request: `request`, `core` (its process), `hop`, `from_ns`, `to_ns`, `latency_ns`, `bytes`
    (0 where not known), and the rows of the two spans in `timeline.spans`.

    Requests that share a step or a message share its hops.
    """
    rows: list[tuple[str, int, str, int, int, int]] = []
    for flow in flows:
        if flow.front_pid != flow.core_pid:
            rows += [(flow.request, flow.core_pid, "front end → core", *hop) for hop in _in(index, flow)]
            rows += [(flow.request, flow.core_pid, "core → front end", *hop) for hop in _out(index, flow)]
        rows += [(flow.request, flow.core_pid, name, *hop) for name, hop in _to_workers(index, flow)]
    frame = pd.DataFrame(rows, columns=["request", "core", "hop", "from_row", "to_row", "bytes"])
    left, reached = (frame[name].to_numpy(dtype=np.int64) for name in ("from_row", "to_row"))
    frame["from_ns"], frame["to_ns"] = index.end[left], index.start[reached]
    there = (frame["hop"] == "core → worker").to_numpy()
    frame.loc[there, "from_ns"] = np.maximum(index.start[left[there]], _free(index, reached[there]))
    back = (frame["hop"] == "worker → core").to_numpy()
    # The core is waiting there since long: the hop ends when its wait does.
    frame.loc[back, "to_ns"] = index.end[reached[back]]
    during = (frame["to_ns"] >= index.start[left]) & (frame["to_ns"] < frame["from_ns"])
    frame["latency_ns"] = np.where(during, 0, frame["to_ns"] - frame["from_ns"])
    return frame[COLUMNS]


def _free(index: Index, reached: Rows) -> Rows:
    """When each worker was through with what it executed before the calls at `reached`; 0 for its first."""
    free = np.zeros(len(reached), dtype=np.int64)
    ran = index.at(*RUN)
    for worker in np.unique(index.pid[reached]):
        mine = ran[index.pid[ran] == worker]
        until = np.append(0, np.maximum.accumulate(index.end[mine]))
        here = index.pid[reached] == worker
        free[here] = until[np.searchsorted(index.start[mine], index.start[reached[here]], side="left")]
    return free


def impossible(frame: pd.DataFrame) -> list[str]:
    """A line a way between two processes on which something arrived before it was sent."""
    rows = frame[frame["latency_ns"] < 0].drop_duplicates(["hop", "from_ns", "to_ns"])
    return [
        f"{len(of_way)} hops {hop} arrived before they were sent, by up to {us(-of_way['latency_ns'].min())}: "
        "clocks or steps of the two processes do not match"
        for hop, of_way in rows.groupby("hop", sort=False)
    ]


def summary(frame: pd.DataFrame) -> tuple[HopKind, ...]:
    """A row a way between two processes; hops that requests share count once."""
    distinct = frame[frame["latency_ns"] >= 0].drop_duplicates(["hop", "from_ns", "to_ns"])
    return tuple(_kind(str(hop), rows) for hop, rows in distinct.groupby("hop", sort=False, observed=True))


def _kind(hop: str, rows: pd.DataFrame) -> HopKind:
    sizes = rows["bytes"][rows["bytes"] > 0]
    return HopKind(
        hop=hop,
        count=len(rows),
        median_ns=int(rows["latency_ns"].median()),
        p95_ns=int(rows["latency_ns"].quantile(0.95)),
        bytes_median=int(sizes.median()) if len(sizes) else None,
    )


def _in(index: Index, flow: Flow) -> Iterator[tuple[int, int, int]]:
    sent = index.rows(flow.request, "client.send", "client.send_async")
    received = index.rows(flow.request, "core.receive")
    if len(sent) and len(received):
        yield int(sent[0]), int(received[0]), int(index.value[received[0]])


def _out(index: Index, flow: Flow) -> Iterator[tuple[int, int, int]]:
    sends = index.with_step("core.send", flow.core_pid, flow.keys)
    sends = sends if len(sends) else index.with_step("core.encode", flow.core_pid, flow.keys)
    received = index.with_step("client.receive", flow.front_pid, flow.keys)
    for send, receive in _joined(index, sends, received):
        yield send, receive, int(index.value[receive])


def _to_workers(index: Index, flow: Flow) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Core → worker by step, and back from the last reply of a step; none where the worker is in the core's process."""
    dispatched = index.with_step("executor.dispatch", flow.core_pid, flow.steps)
    done = index.step[index.with_step("scheduler.update", flow.core_pid, flow.steps)]  # else its last wait is not known
    waits = index.with_step("executor.wait", flow.core_pid, done)
    for pid, core in index.cores.items():
        if core == flow.core_pid and pid != core:
            executed = index.with_step("worker.execute", pid, flow.steps)
            replies = index.with_step("worker.reply", pid, flow.steps)
            yield from (("core → worker", (*pair, 0)) for pair in _joined(index, dispatched, executed))
            yield from (("worker → core", (*pair, 0)) for pair in _joined(index, replies[::-1], waits[::-1]))


def _joined(index: Index, left: Rows, right: Rows) -> Iterator[tuple[int, int]]:
    """Rows of two sites with the same step or key, the first of each."""
    partners = dict(zip(index.step[right][::-1].tolist(), right[::-1].tolist(), strict=True))
    steps = set()
    for row in left.tolist():
        step = int(index.step[row])
        if step in partners and step not in steps:
            steps.add(step)
            yield row, partners[step]
