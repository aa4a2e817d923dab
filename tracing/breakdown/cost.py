"""What watching cost: the recorder's own part in a trace, and what the ledger of this machine says of its watchers."""

from __future__ import annotations

from probes.errors import EnginescopeError
from tracing.breakdown.review import RecorderCost
from tracing.events.tracefile import TraceRecord
from tracing.overhead import ledger
from tracing.overhead.entry import QuotedCost
from tracing.pyspy import recording
from tracing.timeline.spans import Timeline
from tracing.torchsums import trace as torchtrace


def recorder_cost(timeline: Timeline, ns_per_span: float | None, quotes: tuple[QuotedCost, ...]) -> RecorderCost:
    """Spans, nanoseconds a span as measured after the run, and the recorder's share of wall time.

    The share is that of the busiest thread while there was traffic: an estimate, since its spans are counted and not
    timed.
    """
    spans = timeline.spans
    traffic = spans[spans["step"] >= 0]
    share = None
    if ns_per_span and len(traffic):
        window = int(traffic["end_ns"].max() - traffic["start_ns"].min())
        busiest = int(traffic.groupby(["pid", "thread"]).size().max())
        share = busiest * ns_per_span / max(window, 1)
    return RecorderCost(len(spans), ns_per_span, share, quotes)


def ledger_rows(timeline: Timeline, trace: TraceRecord | None) -> tuple[tuple[QuotedCost, ...], list[str]]:
    """What the watchers of this trace were measured to cost on its machine, and why that is not known."""
    ranged = any("nvtx" in process.get("modes", []) for process in timeline.processes)
    watchers = ["nsys" if trace and trace.nsys else "recorder + NVTX" if ranged else "recorder"]
    if torchtrace.paths(timeline.folder):
        watchers.append("torch profiler")
    if recording.exists(timeline.folder):
        watchers.append("py-spy")
    try:
        return tuple(ledger.quote(trace.machine.as_dict() if trace else {}, watchers)), []
    except EnginescopeError as error:
        return (), [str(error)]
