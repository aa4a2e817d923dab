"""Below which span of OpenTelemetry a request belongs: vLLM's own span of it, or the one that its header names."""

from __future__ import annotations

from tracing.timeline import Timeline
from tracing.timeline.requests import Flow


def traceparent(timeline: Timeline, flow: Flow) -> str:
    """The W3C `traceparent` of a request's parent, vLLM's own span first; '' where it has none."""
    traced = timeline.traced
    is_call = (traced["external"] == flow.external) & (traced["pid"] == flow.front_pid)
    rows = traced[is_call & traced["at_ns"].between(flow.start_ns, flow.end_ns) & (traced["traceparent"] != "")]
    return next(iter(rows.sort_values("is_own", ascending=False, kind="stable")["traceparent"]), "")
