"""What watching cost: the recorder's own part in a trace, and what the ledger of this machine says of its watchers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from probes.columns import column
from probes.errors import EnginescopeError
from tracing.events.tracefile import TraceRecord
from tracing.overhead import ledger
from tracing.overhead.entry import QuotedCost
from tracing.pyspy import recording
from tracing.timeline.spans import Timeline
from tracing.torchsums import trace as torchtrace


@dataclass(frozen=True)
class RecorderCost:
    """`cost`: what the recorder itself cost."""

    spans: int = field(metadata=column("recorded", "spans"))
    ns_per_span: float | None = field(metadata=column("the mean, measured after the run; null: not measured", "ns"))
    share: float | None = field(
        metadata=column(
            "an estimate of its part of the busiest thread's time while there was traffic",
            "1",
            "sum over that thread's spans of what one of their site costs / time",
        )
    )
    ledger: tuple[QuotedCost, ...] = field(
        metadata=column("what `python -m tracing.overhead` measured of these watchers on this machine")
    )


def recorder_cost(timeline: Timeline, trace: TraceRecord | None, quotes: tuple[QuotedCost, ...]) -> RecorderCost:
    """Spans, nanoseconds a span as measured after the run, and the recorder's share of wall time.

    The share is that of the thread in which it is largest while there was traffic: an estimate, since spans are counted
    and not timed.
    """
    spans, mean = timeline.spans, trace.ns_per_span if trace else None
    share = None
    if trace and mean and (spans["step"] >= 0).any():
        traffic = spans.loc[spans["step"] >= 0, ["start_ns", "end_ns", "site", "pid", "thread"]]
        window = int(traffic["end_ns"].max() - traffic["start_ns"].min())
        of_site = np.array([trace.ns_by_site.get(str(site), mean) for site in traffic["site"].cat.categories])
        costs = traffic.assign(ns=of_site[traffic["site"].cat.codes])
        share = float(costs.groupby(["pid", "thread"])["ns"].sum().max()) / max(window, 1)
    return RecorderCost(len(spans), mean, share, quotes)


def ledger_rows(timeline: Timeline, trace: TraceRecord | None) -> tuple[tuple[QuotedCost, ...], list[str]]:
    """What the watchers of this trace were measured to cost on its machine, and why that is not known."""
    ranged = any("nvtx" in process.modes for process in timeline.processes)
    watchers = ["nsys" if trace and trace.nsys else "recorder + NVTX" if ranged else "recorder"]
    if torchtrace.paths(timeline.folder):
        watchers.append("torch profiler")
    if recording.exists(timeline.folder):
        watchers.append("py-spy")
    try:
        return tuple(ledger.quote(trace.machine.as_dict() if trace else {}, watchers)), []
    except EnginescopeError as error:
        return (), [str(error)]
