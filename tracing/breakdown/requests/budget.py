"""Where a request's time goes: every nanosecond from the call to the last output belongs to one part.

What explains an instant: the request's own spans (under its ids), those of its steps in the core and the workers, those
of its messages on the way back, garbage collections on these threads meanwhile, the named waits, and what the
processes did meanwhile. Spans that only enclose others never do. Of several the most telling counts: work before
waiting; of work the worker's before the core's before the rest, so that what is hidden behind the next step is not
charged; then the one that began last, which is the innermost. What nothing explains is `unexplained`.

Of what is unexplained, and of the loops' own time, the part in which a thread stood in the kernel's run queue is known
by samples; it is a part of its own, and an estimate.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tracing.breakdown.requests.meanwhile import meanwhile
from tracing.breakdown.requests.piece import LOOP, UNEXPLAINED, WAIT, Piece, ranks
from tracing.breakdown.requests.waits import waits
from tracing.breakdown.review import BudgetPart
from tracing.sites.site import ENCLOSING
from tracing.timeline.contention import Contention
from tracing.timeline.index import Index, Rows
from tracing.timeline.intervals import precedence, topmost
from tracing.timeline.requests import Flow
from tracing.timeline.requestspans import carried, own_rows

NOT_SAMPLED = Contention()
RUN_QUEUE = "run queue (estimate)"


def pieces(index: Index, flow: Flow) -> list[Piece]:
    """All that can explain a request's time, cut to its beginning and end."""
    rows, start, end = index.pieces(explaining(index, flow))
    columns = (column.tolist() for column in (index.stage[rows], start, end, ranks(index, rows), rows))
    whole = [
        Piece(part, begun, over, rank, (row,), (begun, over))
        for part, begun, over, rank, row in zip(*columns, strict=True)
    ]
    whole += [
        Piece(w.name, w.start_ns, w.end_ns, WAIT, (w.after, w.before), (w.start_ns, w.end_ns))
        for w in waits(index, flow)
    ]
    whole += meanwhile(index, flow)
    return [piece for piece in (trimmed(each, flow.start_ns, flow.end_ns) for each in whole) if piece is not None]


def trimmed(piece: Piece, start_ns: int, end_ns: int) -> Piece | None:
    """A piece as far as it lies between two moments; None where it does not."""
    if start_ns <= piece.start_ns < piece.end_ns <= end_ns:
        return piece
    start_ns, end_ns = max(piece.start_ns, start_ns), min(piece.end_ns, end_ns)
    return piece._replace(start_ns=start_ns, end_ns=end_ns) if end_ns > start_ns else None


def explaining(index: Index, flow: Flow) -> Rows:
    """What passed while a request waited or was worked on: its own spans, the rest of its steps and messages, and
    collections meanwhile; by start, without those that enclose others."""
    rows = np.union1d(own_rows(index, flow), carried(index, flow))
    # That a worker waits for the core says nothing of what the core does, and a request waits for neither.
    worker_waits = (index.stage[rows] == "wait: core") & (index.role[rows] == "worker")
    rows = rows[~np.isin(index.share[rows], ENCLOSING) & ~worker_waits]
    return np.union1d(rows, _collections(index, flow, rows))


def _collections(index: Index, flow: Flow, rows: Rows) -> Rows:
    """Garbage collections during a request's time on the threads that served it."""
    pauses = index.at("gc")
    pauses = pauses[(index.end[pauses] > flow.start_ns) & (index.start[pauses] < flow.end_ns)]
    return pauses[np.isin(index.threads(pauses), np.unique(index.threads(rows)))]


def threads_of(index: Index, flow: Flow) -> Iterator[tuple[int, int]]:
    """The main threads of a request's front end, core and workers, each with its process."""
    for (pid, thread), role in index.main_threads.items():
        process = flow.front_pid if role == "front end" else flow.core_pid
        if role in ("front end", "core", "worker") and process in (pid, index.cores.get(pid)):
            yield pid, thread


def on_top(flow: Flow, explanations: list[Piece]) -> tuple[Rows, Rows]:
    """A request's time cut at every edge: the bounds, and which explanation counts in each piece, from 1; 0 for none."""
    start = np.array([flow.start_ns, *(piece.start_ns for piece in explanations)], dtype=np.int64)
    end = np.array([flow.end_ns, *(piece.end_ns for piece in explanations)], dtype=np.int64)
    rank = np.array([0, *(piece.rank for piece in explanations)], dtype=np.int64)
    whole = np.array([(0, 0), *(piece.whole for piece in explanations)], dtype=np.int64)
    return topmost(start, end, precedence(whole[:, 0], whole[:, 1], rank))


def budget(index: Index, flow: Flow, samples: Contention = NOT_SAMPLED) -> dict[str, int]:
    """Nanoseconds by part; they add up to the request's latency exactly."""
    explanations = pieces(index, flow)
    bounds, top = on_top(flow, explanations)
    rank = np.array([0, *(piece.rank for piece in explanations)], dtype=np.int64)
    queued = samples.queued(threads_of(index, flow), bounds[:-1], bounds[1:])
    queued = np.where(np.isin(rank[top], (0, LOOP)), queued, 0)
    lengths = np.diff(bounds) if len(bounds) else np.zeros(0, dtype=np.int64)
    parts: dict[str, int] = {UNEXPLAINED: 0, RUN_QUEUE: int(queued.sum())}
    for which, length in zip(top.tolist(), (lengths - queued).tolist(), strict=True):
        part = explanations[which - 1].part if which else UNEXPLAINED
        parts[part] = parts.get(part, 0) + length
    return {part: ns for part, ns in parts.items() if ns or part == UNEXPLAINED}


Budgets = dict[str, dict[str, int]]


def budgets(index: Index, flows: list[Flow], samples: Contention = NOT_SAMPLED) -> Budgets:
    """The budget of each request, by its id."""
    return {flow.request: budget(index, flow, samples) for flow in flows}


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
