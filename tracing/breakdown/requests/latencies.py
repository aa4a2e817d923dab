"""When each request had its outputs: TTFT, TPOT, ITL and latency.

An output is what `AsyncLLM.generate` yields to its caller. `LLM.generate` hands over all at its return, and with n > 1
the yields are those of the parent: there an output is a message, when the front end has handled it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from probes.columns import column
from tracing.events.layout import YIELDED
from tracing.timeline.index import Index
from tracing.timeline.lookups.rows import Rows
from tracing.timeline.requests import Flow
from tracing.timeline.requestspans import own_calls

PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class LatencyFigure:
    """A row of `latencies`, over the requests that finished or were stopped."""

    name: str = field(metadata=column("TTFT, TPOT, ITL or latency, each as its caller had it"))
    count: int = field(metadata=column("over how many; of ITL the times between two outputs, else requests"))
    p50_ns: float = field(metadata=column("the median", "ns"))
    p95_ns: float = field(metadata=column("the 95th percentile", "ns"))
    p99_ns: float = field(metadata=column("the 99th percentile", "ns"))


class Outputs(NamedTuple):
    """Outputs by request and time: the place of each one's request among some, and when it was there (ns)."""

    of: Rows
    at: Rows


class FlowTimes(NamedTuple):
    """`frame` has a row a request, by id: `ttft_ns`, `tpot_ns`, `itl_max_ns` and `latency_ns`, missing where there is
    none; `itl_ns` is the time between every two outputs of a request that follow each other."""

    frame: pd.DataFrame
    itl_ns: Rows


def request_times(index: Index, flows: Sequence[Flow]) -> FlowTimes:
    """The times of the requests that finished or were stopped.

    TTFT is from the call to the first output, TPOT the time from the first to the last, over the tokens but the first.
    """
    done = [flow for flow in flows if flow.is_complete]
    of, at = outputs(index, done)
    begun = np.array([flow.start_ns for flow in done], dtype=np.int64)
    tokens = np.array([flow.delivered_tokens for flow in done], dtype=np.int64)
    follows = of[1:] == of[:-1]
    between, after = np.diff(at)[follows], of[1:][follows]
    none = np.full(len(done), np.nan)
    first, last, longest = none.copy(), none.copy(), none.copy()
    first[of[::-1]], last[of] = at[::-1], at
    np.fmax.at(longest, after, between)
    frame = pd.DataFrame(
        {
            "ttft_ns": first - begun,
            "tpot_ns": np.where((last > first) & (tokens > 1), (last - first) / np.maximum(tokens - 1, 1), np.nan),
            "itl_max_ns": longest,
            "latency_ns": [float(flow.latency_ns) for flow in done],
        },
        index=[flow.request for flow in done],
    )
    return FlowTimes(frame, between)


def summary(times: FlowTimes) -> tuple[LatencyFigure, ...]:
    """The figures that there are."""
    columns = {name.upper(): times.frame[f"{name}_ns"].dropna().to_numpy() for name in ("ttft", "tpot")}
    columns |= {"ITL": times.itl_ns, "latency": times.frame["latency_ns"].to_numpy()}
    return tuple(
        LatencyFigure(name, len(values), *(float(each) for each in np.percentile(values, PERCENTILES)))
        for name, values in columns.items()
        if len(values)
    )


def outputs(index: Index, flows: Sequence[Flow]) -> Outputs:
    """All outputs of some requests."""
    yielded, handled = _yielded(index, flows), _handled(index, flows)
    of, at = (np.concatenate(columns) for columns in zip(yielded, handled, strict=True))
    order = np.lexsort((at, of))
    return Outputs(of[order], at[order])


def _is_streamed(flow: Flow) -> bool:
    return flow.call > 0 and flow.parent is None


def _yielded(index: Index, flows: Sequence[Flow]) -> Outputs:
    """Of calls of `AsyncLLM.generate`: the ends of their yields."""
    places = np.array([place for place, flow in enumerate(flows) if _is_streamed(flow)], dtype=np.int64)
    of, row = own_calls(index, [flows[place] for place in places.tolist()])
    yields = index.value[row] == YIELDED
    return Outputs(places[of[yields]], index.end[row[yields]])


def _handled(index: Index, flows: Sequence[Flow]) -> Outputs:
    """Of all others: the ends of the handling of their messages, from the step on that computed the last of their
    prompt, and none after their end."""
    each = [Outputs(*np.zeros((2, 0), dtype=np.int64))]
    for place, flow in enumerate(flows):
        if not _is_streamed(flow):
            steps = index.sent.step_of_key(flow.core_pid)
            first = flow.steps[min(index.chunks(flow.request), len(flow.steps) - 1)] if len(flow.steps) else 0
            keys = np.array([key for key in flow.keys.tolist() if steps[key] >= first], dtype=np.int64)
            rows = index.last_with("output.process", flow.front_pid, keys)
            at = index.end[rows[rows >= 0]]
            at = at[at <= flow.end_ns]
            each.append(Outputs(np.full(len(at), place), at))
    return Outputs(*(np.concatenate(columns) for columns in zip(*each, strict=True)))
