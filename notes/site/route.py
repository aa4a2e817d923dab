"""What one request meets, role by role, out of a trace: the way in, then one of its decode steps.

The order is that of the request of median length and of its step of median length; the figures are medians over all
whole requests and all steps of that kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracing.breakdown.findings import Findings
from tracing.breakdown.requests.waits import waits
from tracing.events.layout import YIELDED
from tracing.timeline.index import Index
from tracing.timeline.lookups.rows import Rows
from tracing.timeline.requests import Flow
from tracing.timeline.requestspans import own_rows
from tracing.walk import choose

Part = Literal["way in", "step"]
AGAIN = " again"  # of the core, when it has the worker's answer
ORDER: dict[Part, tuple[str, ...]] = {
    "way in": ("front end", "core input", "core"),
    "step": ("core", "worker", "core" + AGAIN, "core output", "front end"),
}


@dataclass(frozen=True)
class Call:
    """A site that was passed: inside how many others of its thread, and its time by request or step."""

    site: str
    depth: int
    median_ns: int


@dataclass(frozen=True)
class Leg:
    """A part of the route in one role: the sites that it passed there, in order."""

    part: Part
    role: str
    calls: tuple[Call, ...]


@dataclass(frozen=True)
class Route:
    """A request's way: its legs in order, how many steps it took, and how long the ways between roles are."""

    request: str
    latency_ns: int
    steps: int
    requests_counted: int  # over which the medians of the way in go
    steps_counted: int  # and those of the step
    legs: tuple[Leg, ...]
    between_ns: dict[str, int]  # median by the name of a hop or a wait


TimesNs = dict[tuple[str, str], int]  # by role and site


def median_route(findings: Findings) -> Route | None:
    """The route of the median request; None where no request of the trace is whole and was scheduled."""
    index = findings.index
    whole = [flow for flow in findings.flows if flow.is_complete and len(flow.steps)]
    if not whole:
        return None
    flow = choose(whole, "median")
    steps = _like(findings.steps, flow)
    ways = {each.request: _way_in(index, each) for each in whole}
    on_the_way = _medians([_totals(index, rows) for rows in ways.values()])
    step = _of_step(index, flow, _median_step(steps, flow))
    return Route(
        request=flow.request,
        latency_ns=flow.latency_ns,
        steps=len(flow.steps),
        requests_counted=len(whole),
        steps_counted=len(steps),
        legs=(
            *_legs(index, "way in", ways[flow.request], on_the_way),
            *_legs(index, "step", step, _step_medians(index, steps)),
        ),
        between_ns=_between(index, findings, whole),
    )


def _like(steps: pd.DataFrame, flow: Flow) -> pd.DataFrame:
    """The trace's decode steps, or all that did something where the request has no decode step."""
    decodes = steps[steps["kind"] == "decode"]
    return decodes if len(_of(decodes, flow)) else steps[steps["kind"] != "empty"]


def _of(steps: pd.DataFrame, flow: Flow) -> pd.DataFrame:
    return steps[(steps["pid"] == flow.core_pid) & steps["step"].isin(flow.steps)]


def _median_step(steps: pd.DataFrame, flow: Flow) -> int:
    mine = _of(steps, flow)
    lengths = mine["end_ns"] - mine["start_ns"]
    return int(mine.loc[(lengths - lengths.median()).abs().idxmin(), "step"])


def _way_in(index: Index, flow: Flow) -> Rows:
    """What a request passed before the step that scheduled it first."""
    rows = own_rows(index, flow)
    schedules = index.with_step("scheduler.schedule", flow.core_pid, flow.steps[:1])
    begins = index.start[schedules[0]] if len(schedules) else flow.end_ns
    return _work(index, rows[(index.start[rows] < begins) & np.isin(index.role[rows], ORDER["way in"])])


def _of_step(index: Index, flow: Flow, step: int) -> Rows:
    """What a step did for a request: the core's and the worker's part, then that of its message."""
    steps = index.sent.step_of_key(flow.core_pid)
    keys = [key for key in flow.keys.tolist() if steps.get(key) == step]
    rows = own_rows(index, flow)
    passed = _work(index, rows[np.isin(index.step[rows], [step, *keys])])
    return np.concatenate([passed, _yields(index, rows, int(index.start[passed].max()))[:1]])


def _yields(index: Index, rows: Rows, since_ns: int = 0) -> Rows:
    """The stretches of `AsyncLLM.generate` that gave its caller an output: these know no step."""
    rows = rows[(index.site(rows) == "async.generate") & (index.value[rows] == YIELDED)]
    return rows[index.start[rows] >= since_ns]


def _work(index: Index, rows: Rows) -> Rows:
    return rows[(index.share[rows] == "work") & (index.site(rows) != "gc")]


def _legs(index: Index, part: Part, rows: Rows, times_ns: TimesNs) -> Iterator[Leg]:
    roles = np.where(index.role[rows] == "core", _half(index, rows), index.role[rows])
    for role in ORDER[part]:
        if calls := _calls(index, rows[roles == role], times_ns):
            yield Leg(part, role.removesuffix(AGAIN), calls)


def _half(index: Index, rows: Rows) -> npt.NDArray[np.str_]:
    """Of each row `core`, or `core again` from the update on."""
    updates = rows[index.site(rows) == "scheduler.update"]
    back = index.start[updates[0]] if len(updates) else np.iinfo(np.int64).max
    return np.where(index.start[rows] < back, "core", "core" + AGAIN)


def _calls(index: Index, rows: Rows, times_ns: TimesNs) -> tuple[Call, ...]:
    """The sites of some rows in their order, each once; one is inside those sites that enclose all of its rows."""
    sites = index.site(rows)
    around: dict[str, set[str]] = {}
    for row, site in zip(rows.tolist(), sites, strict=True):
        outside = (index.end[rows] >= index.end[row]) & (index.thread[rows] == index.thread[row]) & (rows < row)
        names = set(sites[outside])
        around[site] = around.get(site, names) & names
    role = str(index.role[rows[0]]) if len(rows) else ""
    return tuple(Call(site, len(names - {site}), times_ns.get((role, site), 0)) for site, names in around.items())


# --- figures ---


def _totals(index: Index, rows: Rows) -> TimesNs:
    totals: TimesNs = {}
    for row, site in zip(rows.tolist(), index.site(rows), strict=True):
        key = (str(index.role[row]), str(site))
        totals[key] = totals.get(key, 0) + int(index.end[row] - index.start[row])
    return totals


def _medians(totals: list[TimesNs]) -> TimesNs:
    """The median over those that passed a site."""
    keys = {key for each in totals for key in each}
    return {key: int(np.median([each[key] for each in totals if key in each])) for key in keys}


def _step_medians(index: Index, steps: pd.DataFrame) -> TimesNs:
    """Medians of a site's time a step; messages count to the step that sent them."""
    spans = index.timeline.spans
    work = spans[(spans["share"] == "work") & (spans["step"] >= 0)]
    work = work.assign(ns=work["end_ns"] - work["start_ns"], core=work["pid"].map(index.cores))
    keys = index.timeline.messages[["pid", "step", "key"]].rename(columns={"pid": "core", "step": "number"})
    carried = work.drop(columns="core").merge(keys, left_on="step", right_on="key")
    inside = work.assign(number=work["step"])
    both = pd.concat([inside, carried])[["core", "number", "role", "site", "ns"]]
    both = both.merge(steps[["pid", "step"]], left_on=["core", "number"], right_on=["pid", "step"])
    a_step = both.groupby(["core", "number", "role", "site"], observed=True)["ns"].sum()
    medians = a_step.groupby(["role", "site"], observed=True).median()
    by_site = {(str(role), str(site)): int(ns) for (role, site), ns in medians.items()}
    yields = _yields(index, index.at("async.generate"))
    if len(yields):
        by_site["front end", "async.generate"] = int(np.median(index.end[yields] - index.start[yields]))
    return by_site


def _between(index: Index, findings: Findings, whole: list[Flow]) -> dict[str, int]:
    """Medians of the hops, as the review has them, and of the named waits."""
    lengths: dict[str, list[int]] = {}
    for flow in whole:
        for wait in waits(index, flow):
            lengths.setdefault(wait.name, []).append(wait.end_ns - wait.start_ns)
    medians = {name: int(np.median(each)) for name, each in lengths.items()}
    return medians | {hop.hop: hop.median_ns for hop in findings.review.hops}
