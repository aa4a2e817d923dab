"""Where a request's time goes: every nanosecond from the call to the last output belongs to one part.

What explains an instant: the request's own spans (under its ids), those of its steps in the core and the workers, those
of its messages on the way back, garbage collections on these threads meanwhile, the named waits, and what the
processes did meanwhile. Spans that only enclose others never do. Of several the most telling counts: work before
waiting; of work the worker's before the core's before the rest, so that what is hidden behind the next step is not
charged; then the one that began last, which is the innermost. What nothing explains is `unexplained`.
"""

from __future__ import annotations

import numpy as np

from tracing.breakdown.requests.meanwhile import meanwhile
from tracing.breakdown.requests.piece import WAIT, Piece, ranks
from tracing.breakdown.requests.waits import waits
from tracing.sites.site import ENCLOSING
from tracing.timeline.index import Index
from tracing.timeline.intervals import precedence, topmost
from tracing.timeline.lookups.rows import Rows
from tracing.timeline.requests import Flow
from tracing.timeline.requestspans import carried, own_rows


def pieces(index: Index, flow: Flow) -> list[Piece]:
    """All that can explain a request's time, cut to its beginning and end."""
    rows, start, end = index.cuts.of(explaining(index, flow))
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


def on_top(flow: Flow, explanations: list[Piece]) -> tuple[Rows, Rows]:
    """A request's time cut at all edges: the bounds, and which explanation counts in each piece; from 1, 0: none."""
    start = np.array([flow.start_ns, *(piece.start_ns for piece in explanations)], dtype=np.int64)
    end = np.array([flow.end_ns, *(piece.end_ns for piece in explanations)], dtype=np.int64)
    rank = np.array([0, *(piece.rank for piece in explanations)], dtype=np.int64)
    whole = np.array([(0, 0), *(piece.whole for piece in explanations)], dtype=np.int64)
    return topmost(start, end, precedence(whole[:, 0], whole[:, 1], rank))
