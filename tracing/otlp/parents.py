"""Below which span of OpenTelemetry a request belongs: vLLM's own span of it, or the one that its header names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tracing.events import file as eventfile
from tracing.events.layout import TRACED
from tracing.timeline.requests import Flow


@dataclass(frozen=True)
class TracedRequest:
    """What was noted of a call with this id, at a time of CLOCK_MONOTONIC: a W3C `traceparent`, `is_own` where it names
    vLLM's own span."""

    external: str
    traceparent: str
    is_own: bool
    at_ns: int
    pid: int


def traced_requests(folder: Path) -> list[TracedRequest]:
    """All that the front ends of a trace folder noted, as it was written."""
    return [each for path in sorted(folder.glob("events-*.bin")) for each in _of_process(path)]


def _of_process(path: Path) -> list[TracedRequest]:
    file = eventfile.read(path)
    heads, counts, words = file.lists[TRACED]
    rows = words.reshape(-1, 3) if (counts == 3).all() else words[:0].reshape(0, 3)
    return [
        TracedRequest(file.texts.get(name, ""), file.texts.get(parent, ""), bool(own), at_ns, int(file.process["pid"]))
        for at_ns, (name, parent, own) in zip(heads["start"].tolist(), rows.tolist(), strict=False)
    ]


def traceparent(flow: Flow, traced: Sequence[TracedRequest]) -> str:
    """The `traceparent` of a request's parent, vLLM's own span first; '' where it has none."""
    mine = [
        each
        for each in traced
        if (each.external, each.pid) == (flow.external, flow.front_pid) and flow.start_ns <= each.at_ns <= flow.end_ns
    ]
    return next((each.traceparent for each in sorted(mine, key=lambda each: not each.is_own) if each.traceparent), "")
