"""What a trace folder says of one window of time, as sums that a record can hold: requests by stage, steps by phase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from probes.columns import column
from tracing import timeline as tracefolder
from tracing.breakdown.changes import Budget
from tracing.breakdown.requests.budget import budgets
from tracing.timeline.index import Index
from tracing.timeline.requests import flows
from tracing.timeline.spans import Timeline
from tracing.timeline.steps.anatomy import KINDS, anatomy
from tracing.timeline.steps.phases import NAMES


@dataclass(frozen=True)
class StepTimes:
    """The steps of one kind."""

    kind: str = field(metadata=column("prefill, mixed, first decode, decode or empty"))
    count: int = field(metadata=column("how many there were", "steps"))
    phases_ns: dict[str, int] = field(
        metadata=column("their time by phase, all of them together; it adds up to their length", "ns")
    )

    def budget(self) -> Budget:
        """The mean step's nanoseconds by phase."""
        return _mean(self.phases_ns, self.count)


@dataclass(frozen=True)
class WindowTimes:
    """Where the time of a window's requests and steps went."""

    requests: int = field(metadata=column("those that were recorded whole", "requests"))
    cut: int = field(metadata=column("those that were not", "requests"))
    stages_ns: dict[str, int] = field(
        metadata=column("time by stage, all whole requests together; it adds up to their latencies", "ns")
    )
    steps: tuple[StepTimes, ...] = field(metadata=column("the engine's steps by kind"))
    spans: int = field(metadata=column("recorded", "spans"))

    def budget(self) -> Budget:
        """The mean request's nanoseconds by stage; empty without a whole request."""
        return _mean(self.stages_ns, self.requests)

    def step_budget(self, kind: str) -> Budget:
        """The mean step of a kind, its nanoseconds by phase; empty without one."""
        return next((steps.budget() for steps in self.steps if steps.kind == kind), {})


def _mean(total_ns: Mapping[str, int], count: int) -> Budget:
    return {name: ns / count for name, ns in total_ns.items()} if count else {}


def window_times(folder: Path, start_ns: int, end_ns: int) -> WindowTimes:
    """Read what a folder, which may still be written, holds of a window of CLOCK_MONOTONIC.

    Raises `EnginescopeError` where it is no trace folder.
    """
    timeline = within(tracefolder.read(folder), start_ns, end_ns)
    index = Index(timeline)
    requests = flows(index)
    whole = [flow for flow in requests if flow.state not in ("cut", "refused")]
    stages: dict[str, int] = {}
    for parts in budgets(index, whole).values():
        for part, ns in parts.items():
            stages[part] = stages.get(part, 0) + ns
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
    of_kinds = ((kind, steps[steps["kind"] == kind]) for kind in KINDS)
    return tuple(
        StepTimes(kind, len(rows), {name: int(rows[key].sum()) for name, key in columns.items() if rows[key].any()})
        for kind, rows in of_kinds
        if len(rows)
    )
