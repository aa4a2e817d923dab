"""What watching cost: the recorder's own part in a trace, and what the ledger of this machine says of its watchers."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from probes.columns import column
from probes.errors import EnginescopeError
from tracing.events.tracefile import TraceRecord
from tracing.overhead import ledger
from tracing.overhead.entry import QuotedCost
from tracing.pyspy import recording
from tracing.timeline.spans import Timeline
from tracing.torchsums import trace as torchtrace

MOST = 10  # times a site's median: what was interrupted counts as no more


@dataclass(frozen=True)
class RecorderCost:
    """`cost`: what the recorder itself cost."""

    spans: int = field(metadata=column("recorded", "spans"))
    ns_per_span: float | None = field(
        metadata=column("the mean, measured around one call of 32 of each site; null: too few for one", "ns")
    )
    ns_per_step: float | None = field(metadata=column("the same of all spans, over the engine's steps", "ns"))
    share: float | None = field(
        metadata=column(
            "its part of the busiest thread's time while there was traffic",
            "1",
            "sum over that thread's spans of what one of their site costs / time",
        )
    )
    ledger: tuple[QuotedCost, ...] = field(
        metadata=column("what `python -m tracing.overhead` measured of these watchers on this machine")
    )


def recorder_cost(timeline: Timeline, quotes: tuple[QuotedCost, ...]) -> RecorderCost:
    """What watching took of the engine's threads while there was traffic, by the calls around which it was measured.

    A span costs what those of its site in its process did, one of a site without any what all of them did.
    """
    spans, costs = timeline.spans, timeline.costs
    starts, in_step = spans["start_ns"].to_numpy(), spans["step"].to_numpy() >= 0
    if not len(costs) or not in_step.any():
        return RecorderCost(len(spans), None, None, None, quotes)
    begin, end = int(starts[in_step].min()), int(spans["end_ns"].to_numpy()[in_step].max())
    traffic = spans.loc[(starts >= begin) & (starts < end), ["pid", "thread", "site"]]
    of_site = costs.groupby(["pid", "site"])["ns"].agg(_mean)
    count = traffic.groupby(["pid", "thread", "site"], observed=True).size().rename("count").reset_index()
    each = of_site.reindex(pd.MultiIndex.from_frame(count[["pid", "site"]])).fillna(_mean(costs["ns"])).to_numpy()
    ns = count["count"] * each
    share = float(ns.groupby([count["pid"], count["thread"]]).sum().max()) / max(end - begin, 1)
    steps = int((traffic["site"] == "scheduler.schedule").sum())
    return RecorderCost(len(spans), ns.sum() / len(traffic), ns.sum() / steps if steps else None, share, quotes)


def _mean(ns: pd.Series) -> float:
    return float(ns.clip(upper=MOST * ns.median()).mean())


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
