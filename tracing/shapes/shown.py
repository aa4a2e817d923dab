"""Whether a recording shows what its shape is there for: spans of its own sites, and what held the engine up by name.

What held it up wrote that down itself, beside the trace: what the review says is held against that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from tracing.breakdown.findings import Findings
from tracing.breakdown.starvation import TELLING, traffic
from tracing.shapes import quota
from tracing.shapes.hindrance import NEIGHBOUR_FILE, STRAGGLER, STRAGGLER_FILE
from tracing.shapes.shape import Shape
from tracing.timeline.intervals import Pieces, clipped, length, union


def unshown(recorded: Findings, shape: Shape) -> tuple[str, ...]:
    """What the shape is there to show and the recording does not, some words each."""
    passed = set(recorded.timeline.spans["site"].unique())
    lines = [f"no span of {site}" for site in shape.shows if site not in passed]
    if STRAGGLER in shape.environment:
        lines += _straggler(recorded)
    if shape.busy_neighbours:
        lines += _neighbours(recorded)
    if shape.quota:
        lines += _quota(recorded)
    return tuple(lines)


def _straggler(recorded: Findings) -> Iterator[str]:
    truth = _truth(recorded, STRAGGLER_FILE)
    if not truth:
        yield "no worker was held up"
        return
    slowest = max(recorded.review.workers, key=lambda worker: worker.slowest_share or 0, default=None)
    if slowest is None or slowest.worker_pid != truth["pid"]:
        yield f"worker {truth['pid']} is held up in each step, and not the slowest in most"


def _neighbours(recorded: Findings) -> Iterator[str]:
    """Threads stood in the run queue while the neighbours worked, and the review's first lines say so."""
    window, worked = traffic(recorded.timeline), neighbours_work(recorded)
    if window is None or not len(worked[0]):
        yield "no neighbour worked while there was traffic"
        return
    queued = recorded.machine.samples.queued(list(recorded.machine.roles), *worked)
    if queued.sum() <= TELLING * length(worked) or not _names(recorded, "run queue"):
        share = length(worked) / (window[1] - window[0])
        yield f"the run queue is not named, though neighbours worked for {share:.0%} of the time with traffic"


def neighbours_work(recorded: Findings) -> Pieces:
    """When any neighbour worked while there was traffic."""
    file = recorded.timeline.folder / NEIGHBOUR_FILE
    lines = file.read_text().splitlines() if file.exists() else []
    pieces = [(piece["begin_ns"], piece["end_ns"]) for piece in map(json.loads, lines)]
    begin, end = np.array(pieces, dtype=np.int64).reshape(-1, 2).T
    windows = [window] if (window := traffic(recorded.timeline)) else []
    first, last = np.array(windows, dtype=np.int64).reshape(-1, 2).T
    _, start, stop = clipped(*union(begin, end), (first, last))
    return start, stop


def _quota(recorded: Findings) -> Iterator[str]:
    """The kernel stopped threads, and the review's first lines and its slow steps say so."""
    truth = _truth(recorded, quota.FILE)
    if not truth or not truth["throttled_ns"]:
        yield "the quota stopped no thread"
    elif not _names(recorded, "CPU quota"):
        yield f"the CPU quota is not named, though it stopped threads for {truth['throttled_ns'] / 1e6:,.0f} ms"
    elif not any("CPU quota" in step.reason for step in recorded.review.slow_steps):
        yield "no slow step names the CPU quota"


def _truth(recorded: Findings, name: str) -> dict[str, Any]:
    """What a file beside the trace says; empty where there is none."""
    file = recorded.timeline.folder / name
    return json.loads(file.read_text()) if file.exists() else {}


def _names(recorded: Findings, cause: str) -> bool:
    starvation = recorded.review.starvation
    return starvation is not None and any(cause in line for line in starvation.warnings())
