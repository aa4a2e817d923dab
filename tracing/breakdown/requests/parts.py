"""A request's time cut into the parts of its budget, one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracing.breakdown.requests.piece import UNEXPLAINED
from tracing.breakdown.requests.pieces import on_top, pieces
from tracing.timeline.index import Index
from tracing.timeline.requests import Flow


@dataclass(frozen=True)
class RequestPart:
    """A stretch of a request's time, in nanoseconds of CLOCK_MONOTONIC, and where it was spent: `pid` 0 and `step` -1
    where no process or step is told."""

    name: str
    start_ns: int
    end_ns: int
    role: str
    pid: int
    step: int


def parts(index: Index, flow: Flow) -> list[RequestPart]:
    """The parts in their order, without a gap; they add up to the request's latency."""
    explanations = pieces(index, flow)
    bounds, top = on_top(flow, explanations)
    changes = np.flatnonzero(np.diff(top, prepend=-2))
    starts, ends = bounds[:-1][changes], np.append(bounds[:-1][changes[1:]], bounds[-1:])
    return [
        _part(index, explanations[which - 1].part if which else UNEXPLAINED, begun, over, rows)
        for which, begun, over in zip(top[changes].tolist(), starts.tolist(), ends.tolist(), strict=True)
        for rows in [explanations[which - 1].rows if which else ()]
    ]


def _part(index: Index, name: str, start_ns: int, end_ns: int, rows: tuple[int, ...]) -> RequestPart:
    if len(rows) != 1:  # a wait lies between two spans
        return RequestPart(name, start_ns, end_ns, "", 0, -1)
    role, step = str(index.role[rows[0]]), int(index.step[rows[0]])
    in_step = role in ("core", "worker")  # elsewhere a span's step is the key of a message
    return RequestPart(name, start_ns, end_ns, role, int(index.pid[rows[0]]), step if in_step else -1)
