"""The start of the engines: what it was spent on as a table, and the processes' phases as lanes."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
from rich.console import Console

from probes.console import Rows, percent, show_text, table, us
from tracing.breakdown.findings import Findings
from tracing.breakdown.review import Review
from tracing.breakdown.starts import PLACES, EngineStart
from tracing.page import html
from tracing.page.drawings import lanes
from tracing.sites.starting import START_SITES
from tracing.timeline.spans import Timeline
from tracing.timeline.starting import IMPORT, ProcessPhase, phases

COLUMNS = ["process", "phase", "took", "share"]
SHOWN_SHARE = 0.005  # of a start, from which a part has a row on a terminal
SHARES = {site.name: site.share for site in START_SITES}
CATEGORIES = ("site", "stage", "role", "share", "request")
MARGIN = 0.02  # of a start, on both sides


def title(start: EngineStart) -> str:
    """What a start was: of which core, with how many workers, and how long it and the first step after it took."""
    workers = f", {start.workers} workers" if start.workers > 1 else ""
    step = f", then {us(start.first_step_ns)} for the first step" if start.first_step_ns is not None else ""
    return f"start of the engine (core {start.core_pid}{workers}): {start.ns / 1e9:.1f} s until it was ready{step}"


def rows(start: EngineStart) -> Rows:
    return [[part.role, part.stage, us(part.ns), part.share] for part in start.parts]


def show(review: Review, out: Console) -> None:
    """The starts on a terminal."""
    for start in review.starts:
        large = [[*row[:-1], percent(row[-1])] for row in rows(start) if row[-1] >= SHOWN_SHARE]
        table(out, title(start), COLUMNS, large, (0, 1))
        if left := len(start.parts) - len(large):
            show_text(out, f"and {left} phases of less than {SHOWN_SHARE:.1%} each", "dim")


def sections(findings: Findings) -> list[tuple[str, str, str]]:
    """The page's section; none where the trace does not have the start."""
    starts = findings.review.starts
    if not starts:
        return []
    parts = [f"<h3>{title(start)}</h3>{html.table(COLUMNS, rows(start), share=3, text=(0, 1))}" for start in starts]
    begin, end = min(start.start_ns for start in starts), max(start.start_ns + start.ns for start in starts)
    margin = int((end - begin) * MARGIN)
    drawing = lanes.drawing(as_spans(findings.timeline), begin - margin, end + margin, begin)
    words = (
        "From the start of the front end's process to the end of the last phase. A front end waits for its core, and "
        "the core for its workers: time goes to the innermost phase of the process that all others wait for."
    )
    return [("How the engine started", words, drawing + "".join(parts))]


def as_spans(timeline: Timeline) -> Timeline:
    """The timeline with the phases of its start in place of its spans."""
    roles = {process.pid: process.serves[0] for process in timeline.processes}
    spans = pd.DataFrame([_row(phase, roles.get(phase.pid, "")) for phase in phases(timeline)])
    return replace(timeline, spans=spans.astype(dict.fromkeys(CATEGORIES, "category")))


def _row(phase: ProcessPhase, role: str) -> dict[str, object]:
    stage = IMPORT if phase.name == IMPORT else PLACES[phase.name][1]
    return {
        "start_ns": phase.start_ns,
        "end_ns": phase.end_ns,
        "site": phase.name,
        "stage": stage,
        "role": role,
        "share": SHARES.get(phase.name, "work"),
        "pid": phase.pid,
        "thread": phase.pid,
        "thread_name": "MainThread",
        "request": None,
    }
