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
from tracing.timeline.index import Index
from tracing.timeline.intervals import distinct
from tracing.timeline.lookups.rows import Rows
from tracing.timeline.requests import Flow
from tracing.timeline.steps.workers import RUN

COLUMNS = ["core", "hop", "from_ns", "to_ns", "latency_ns", "bytes", "from_row", "to_row"]
KEYS = ["core", "hop", "from_row", "to_row", "bytes"]


def hops(index: Index, flows: list[Flow]) -> pd.DataFrame:
    """A row a hop: `core` (its process), `hop`, `from_ns`, `to_ns`, `latency_ns`, `bytes` (0 where not known), and the
    rows of the two spans in `timeline.spans`.

    Requests that share a step or a message share its hops.
    """
    ways = [*_in(index, flows), *_out(index, flows), *_workers(index, flows)]
    frame = pd.concat([pd.DataFrame([], columns=KEYS), *ways], ignore_index=True).drop_duplicates(KEYS)
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


def _in(index: Index, flows: list[Flow]) -> Iterator[pd.DataFrame]:
    """By request, from its first sending to the core's receiving it."""
    apart = [flow for flow in flows if flow.front_pid != flow.core_pid]
    numbers = index.numbers_of(flow.request for flow in apart)
    cores = np.array([flow.core_pid for flow in apart], dtype=np.int64)
    sent = index.by_request("client.send", "client.send_async").first(numbers)
    received = index.by_request("core.receive").first(numbers)
    both = (sent >= 0) & (received >= 0)
    yield _way("front end → core", cores[both], sent[both], received[both], index.value[received[both]])


def _out(index: Index, flows: list[Flow]) -> Iterator[pd.DataFrame]:
    """By message; from its serialization where sending it was not recorded."""
    for front, core in dict.fromkeys((flow.front_pid, flow.core_pid) for flow in flows):
        if front != core:
            here = [flow.keys for flow in flows if (flow.front_pid, flow.core_pid) == (front, core)]
            keys = distinct(np.concatenate(here))
            sent = index.first_with("core.send", core, keys)
            sent = sent if (sent >= 0).any() else index.first_with("core.encode", core, keys)
            received = index.first_with("client.receive", front, keys)
            both = (sent >= 0) & (received >= 0)
            yield _way("core → front end", core, sent[both], received[both], index.value[received[both]])


def _workers(index: Index, flows: list[Flow]) -> Iterator[pd.DataFrame]:
    """Core → worker by step, and back from the last reply of a step; none where the worker is in the core's process."""
    for core in dict.fromkeys(flow.core_pid for flow in flows):
        steps = distinct(np.concatenate([flow.steps for flow in flows if flow.core_pid == core]))
        updated = index.first_with("scheduler.update", core, steps) >= 0  # else its last wait is not known
        dispatched = index.first_with("executor.dispatch", core, steps)
        waited = np.where(updated, index.last_with("executor.wait", core, steps), -1)
        for worker in (pid for pid, owner in index.cores.items() if owner == core and pid != core):
            executed = index.first_with("worker.execute", worker, steps)
            replied = index.last_with("worker.reply", worker, steps)
            there, back = (dispatched >= 0) & (executed >= 0), (replied >= 0) & (waited >= 0)
            yield _way("core → worker", core, dispatched[there], executed[there], 0)
            yield _way("worker → core", core, replied[back], waited[back], 0)


def _way(name: str, core: Rows | int, left: Rows, reached: Rows, sent_bytes: Rows | int) -> pd.DataFrame:
    return pd.DataFrame({"core": core, "hop": name, "from_row": left, "to_row": reached, "bytes": sent_bytes})
