"""Where a request's time goes: every nanosecond from the call to the last output belongs to one part.

What explains an instant: the request's own spans (under its ids), those of its steps in the core and the workers, those
of its messages on the way back, garbage collections on these threads meanwhile, and the named waits. Spans that only
enclose others never do. Of several the most telling counts: work before waiting; of work the worker's before the core's
before the rest, so that what is hidden behind the next step is not charged; then the one that began last, which is the
innermost. What nothing explains is `unexplained`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracing.breakdown.review import BudgetPart
from tracing.breakdown.waits import waits
from tracing.timeline.index import Index, Rows
from tracing.timeline.intervals import precedence, topmost
from tracing.timeline.requests import Flow
from tracing.timeline.requestspans import carried, own_rows

UNEXPLAINED = "unexplained"
RANK = {"worker": 4, "core": 3}  # of work; that of other roles is 2
GPU_WAIT, WAIT = 1, 0


@dataclass(frozen=True)
class Piece:
    """An interval that can explain a request's time, and the rows of the spans that it rests on."""

    part: str
    start_ns: int
    end_ns: int
    rank: int
    rows: tuple[int, ...]


def pieces(index: Index, flow: Flow) -> list[Piece]:
    """All that can explain a request's time, cut to its beginning and end."""
    columns = (column.tolist() for column in index.pieces(explaining(index, flow)))
    whole = [
        Piece(index.stage[row], begun, over, _rank(index, row), (row,))
        for row, begun, over in zip(*columns, strict=True)
    ]
    whole += [Piece(w.name, w.start_ns, w.end_ns, WAIT, (w.after, w.before)) for w in waits(index, flow)]
    start, end = flow.start_ns, flow.end_ns
    trimmed = [Piece(p.part, max(p.start_ns, start), min(p.end_ns, end), p.rank, p.rows) for p in whole]
    return [piece for piece in trimmed if piece.end_ns > piece.start_ns]


def _rank(index: Index, row: int) -> int:
    if index.share[row] == "wait":
        return GPU_WAIT if index.stage[row] == "wait: GPU" else WAIT
    return RANK.get(index.role[row], 2)


def explaining(index: Index, flow: Flow) -> Rows:
    """What passed while a request waited or was worked on: its own spans, the rest of its steps and messages, and
    collections meanwhile; by start, without frames."""
    rows = np.union1d(own_rows(index, flow), carried(index, flow))
    # That a worker waits for the core says nothing of what the core does, and a request waits for neither.
    rows = rows[(index.share[rows] != "frame") & ((index.stage[rows] != "wait: core") | (index.role[rows] != "worker"))]
    return np.union1d(rows, _collections(index, flow, rows))


def _collections(index: Index, flow: Flow, rows: Rows) -> Rows:
    """Garbage collections during a request's time on the threads that served it."""
    pauses = index.at("gc")
    pauses = pauses[(index.end[pauses] > flow.start_ns) & (index.start[pauses] < flow.end_ns)]
    return pauses[np.isin(index.threads(pauses), np.unique(index.threads(rows)))]


def budget(index: Index, flow: Flow) -> dict[str, int]:
    """Nanoseconds by part; they add up to the request's latency exactly."""
    explanations = pieces(index, flow)
    start = np.array([piece.start_ns for piece in explanations], dtype=np.int64)
    end = np.array([piece.end_ns for piece in explanations], dtype=np.int64)
    rank = np.array([piece.rank for piece in explanations], dtype=np.int64)
    bounds, top = topmost(start, end, precedence(start, end, rank))
    lengths = np.diff(bounds) if len(bounds) else np.zeros(0, dtype=np.int64)
    parts: dict[str, int] = {}
    for which, length in zip(top.tolist(), lengths.tolist(), strict=True):
        if which >= 0:
            part = explanations[which].part
            parts[part] = parts.get(part, 0) + length
    parts[UNEXPLAINED] = flow.latency_ns - sum(parts.values())
    return parts


Budgets = dict[str, dict[str, int]]


def budgets(index: Index, flows: list[Flow]) -> Budgets:
    """The budget of each request, by its id."""
    return {flow.request: budget(index, flow) for flow in flows}


def summary(requests: Budgets) -> tuple[BudgetPart, ...]:
    """A row a part over all requests, the largest share first, what is unexplained last."""
    names = list(dict.fromkeys(part for parts in requests.values() for part in parts))
    whole = sum(sum(parts.values()) for parts in requests.values())
    rows = []
    for name in names:
        values = np.array([parts.get(name, 0) for parts in requests.values()])
        median, p95 = np.percentile(values, (50, 95))
        share = int(values.sum()) / whole if whole else 0.0
        rows.append(BudgetPart(name, float(median), float(p95), share))
    return tuple(sorted(rows, key=lambda row: (row.stage == UNEXPLAINED, -row.share)))


def unexplained_share(requests: Budgets) -> float | None:
    """The median request's unexplained share of its latency."""
    shares = [parts[UNEXPLAINED] / max(sum(parts.values()), 1) for parts in requests.values()]
    return float(np.median(shares)) if shares else None


def unexplained_per_token(requests: Budgets, flows: list[Flow]) -> float | None:
    """The median request's unexplained nanoseconds an output token."""
    each = [requests[flow.request][UNEXPLAINED] / flow.output_tokens for flow in flows if flow.output_tokens]
    return float(np.median(each)) if each else None
