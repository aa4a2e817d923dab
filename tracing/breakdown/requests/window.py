"""What a trace folder says of one window of time, as sums that a record can hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tracing import timeline as tracefolder
from tracing.breakdown.requests.budget import budgets
from tracing.breakdown.requests.windowtimes import StepTimes, WindowTimes
from tracing.timeline.index import Index
from tracing.timeline.requests import flows
from tracing.timeline.spans import Timeline
from tracing.timeline.steps.anatomy import anatomy, by_kind
from tracing.timeline.steps.phases import NAMES


def window_times(folder: Path, start_ns: int, end_ns: int) -> WindowTimes:
    """Read what a folder, which may still be written, holds of a window of CLOCK_MONOTONIC.

    Raises `EnginescopeError` where it is no trace folder.
    """
    timeline = within(tracefolder.read(folder), start_ns, end_ns)
    index = Index(timeline)
    requests = flows(index)
    whole = [flow for flow in requests if flow.is_whole]
    stages = {str(part): int(ns) for part, ns in budgets(index, whole).sum().items()} if whole else {}
    return WindowTimes(len(whole), len(requests) - len(whole), stages, step_times(timeline), len(timeline.spans))


def within(timeline: Timeline, start_ns: int, end_ns: int) -> Timeline:
    """The spans that began in a window, and the requests that were given their ids there."""
    spans = timeline.spans
    spans = spans[(spans["start_ns"] >= start_ns) & (spans["start_ns"] < end_ns)].reset_index(drop=True)
    named = set(spans.loc[spans["site"] == "input.assign_id", "request"].dropna().astype(str))
    renamed, children = timeline.renamed, timeline.children
    return replace(
        timeline,
        spans=spans,
        renamed=renamed[renamed["internal"].isin(named)],
        children=children[children["parent"].isin(named)],
    )


def step_times(timeline: Timeline) -> tuple[StepTimes, ...]:
    """The steps of a timeline by kind, in the order of `KINDS`."""
    steps = anatomy(timeline)
    columns = {name: f"{name}_ns" for name in (*NAMES, "unexplained")}
    return tuple(
        StepTimes(kind, len(rows), {name: int(rows[key].sum()) for name, key in columns.items() if rows[key].any()})
        for kind, rows in by_kind(steps)
    )
