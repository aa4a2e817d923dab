"""What a trace measured at each tracing site, as the stops of the walkthrough tell it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracing.breakdown.findings import Findings
from tracing.breakdown.requests.pieces import explaining
from tracing.timeline.index import Index
from tracing.timeline.intervals import length, union
from tracing.timeline.requests import Flow


@dataclass(frozen=True)
class SiteTime:
    """A site's time: how often it was passed, the median of a call, and the part of the requests' time that its calls
    cover (None where none of them belongs to a request). Calls lie inside each other: parts do not add up to one."""

    calls: int
    median_ns: int
    share: float | None


def site_times(findings: Findings) -> dict[str, SiteTime]:
    """By site what was measured; a site that was not passed is not there."""
    whole = [flow for flow in findings.flows if flow.is_whole]
    covered: dict[str, int] = {}
    for flow in whole:
        for site, ns in _covered(findings.index, flow).items():
            covered[site] = covered.get(site, 0) + ns
    latency = sum(flow.latency_ns for flow in whole)
    spans = findings.timeline.spans
    calls = (spans["end_ns"] - spans["start_ns"]).groupby(spans["site"], observed=True)
    return {
        str(site): SiteTime(len(each), int(each.median()), covered[site] / latency if site in covered else None)
        for site, each in calls
    }


def _covered(index: Index, flow: Flow) -> dict[str, int]:
    """By site the time of a request during which it was in such a call, of its own or of its steps."""
    rows = explaining(index, flow)
    start, end = np.maximum(index.start[rows], flow.start_ns), np.minimum(index.end[rows], flow.end_ns)
    sites = index.site(rows)
    return {str(site): length(union(start[sites == site], end[sites == site])) for site in np.unique(sites)}
