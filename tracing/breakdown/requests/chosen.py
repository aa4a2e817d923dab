"""The part of a trace that is reviewed: all of it, a stretch of time, or some requests and the time that they took."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd

from probes.errors import usage_error
from tracing.timeline.requests import Flow
from tracing.timeline.spans import Timeline


@dataclass(frozen=True)
class WindowChoice:
    """What was asked for: seconds from the trace's start, or the first and last of some requests, which are numbered
    from 1 in the order of their calls. None of it is the whole trace."""

    from_s: float | None = None
    to_s: float | None = None
    requests: tuple[int, int] | None = None


@dataclass(frozen=True)
class TraceWindow:
    """The requests that were called in a stretch of time (ns of CLOCK_MONOTONIC, up to but not including its end); the
    steps that count are those which began in it. `first` is the number of its first request, from 1; `words` is empty
    where it is the whole trace."""

    start_ns: int
    end_ns: int
    flows: list[Flow]
    first: int
    words: str

    def begun(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The spans, or steps, that began in it; a frame of all of them is left as it is."""
        inside = rows["start_ns"].between(self.start_ns, self.end_ns, inclusive="left")
        return rows if inside.all() else rows[inside].reset_index(drop=True)

    def of(self, timeline: Timeline) -> Timeline:
        """A timeline with only the spans that began in it."""
        return replace(timeline, spans=self.begun(timeline.spans)) if self.words else timeline


def chosen(choice: WindowChoice, timeline: Timeline, flows: list[Flow]) -> TraceWindow:
    """The window that a choice is in a trace; `EnginescopeError` where nothing of the trace lies in it."""
    begun, ended = origin_ns(timeline), int(timeline.spans["end_ns"].max()) if len(timeline.spans) else 0
    if choice == WindowChoice():
        return TraceWindow(min([begun, *(flow.start_ns for flow in flows)]), ended + 1, flows, 1, "")
    if choice.requests:
        return _of_requests(*choice.requests, begun, flows)
    start = begun + round((choice.from_s or 0) * 1e9)
    end = ended + 1 if choice.to_s is None else begun + round(choice.to_s * 1e9)
    inside = [flow for flow in flows if start <= flow.start_ns < end]
    steps = timeline.spans.loc[timeline.spans["site"] == "scheduler.schedule", "start_ns"]
    if not inside and not steps.between(start, end, inclusive="left").any():
        raise usage_error(
            f"no request was called and no step began {_stretch(choice)}: the trace ends at "
            f"{(ended - begun) / 1e9:.2f} s, and second 0 is its first span, not the start of the program"
        )
    return _window(start, end, begun, inside, flows)


def _stretch(choice: WindowChoice) -> str:
    if choice.to_s is None:
        return f"after {choice.from_s or 0:g} s"
    return f"between {choice.from_s or 0:g} s and {choice.to_s:g} s"


def origin_ns(timeline: Timeline) -> int:
    """The trace's start, from which seconds are told: that of its first span."""
    return int(timeline.spans["start_ns"].min()) if len(timeline.spans) else 0


def _of_requests(first: int, last: int, begun: int, flows: list[Flow]) -> TraceWindow:
    inside = flows[first - 1 : last]
    if not inside:
        raise usage_error(f"there is no request {first}: the trace has {len(flows)}, numbered from 1")
    start, end = min(flow.start_ns for flow in inside), max(flow.end_ns for flow in inside) + 1
    return _window(start, end, begun, inside, flows)


def _window(start: int, end: int, begun: int, inside: list[Flow], flows: list[Flow]) -> TraceWindow:
    first = flows.index(inside[0]) + 1 if inside else 1
    words = (
        f"chosen: {(start - begun) / 1e9:.2f} s to {(end - begun) / 1e9:.2f} s after the start of the trace, "
        f"{len(inside)} of {len(flows)} requests"
    )
    return TraceWindow(start, end, inside, first, words)
