"""The review on a terminal, in the order of its page: what callers waited for, the load, where the time went."""

from __future__ import annotations

from rich.console import Console

from probes.console import percent, show_text, table
from tracing.breakdown.findings import Findings
from tracing.page import sections
from tracing.page.tables import devicewaits, firstscreen, prefixcache, queue, starts, steptables, watchers
from tracing.timeline.spans import on_device

MOST_STEPS = 5


def show(findings: Findings, out: Console) -> None:
    """The review on a terminal."""
    review, launches = findings.review, on_device(findings.timeline)
    _head(findings, out)
    table(out, "how long requests took", firstscreen.LATENCIES, firstscreen.latency_rows(review.latencies))
    table(out, "load", firstscreen.LOAD, firstscreen.load_rows(review.load), (3,))
    budget = sections.budget_rows(review)
    large = [[*row[:-1], percent(row[-1])] for row in budget if sections.is_large(row)]
    table(out, "where a request's time goes", sections.BUDGET, large)
    if small := sections.small_parts(budget):
        show_text(out, f"and {small}")
    table(out, "slow requests", sections.SLOW_REQUESTS, sections.slow_request_rows(review), (3,))
    table(out, "what a step is made of (medians)", *steptables.step_table(review.steps, launches))
    if steptables.overlapping(review.steps):
        show_text(out, steptables.OVERLAP, "dim")
    if len(review.workers) > 1:
        table(out, "workers", *steptables.worker_table(review))
        if sentence := steptables.straggler(review.workers):
            show_text(out, sentence)
    devicewaits.show(review.devices, out)
    queue.show(review, out)
    prefixcache.show(review, out)
    columns, slow = sections.slow_steps(review)
    title = "slowest steps (median: of as many tokens)"
    table(out, title, columns, slow[:MOST_STEPS], (len(columns) - 1,))
    table(out, "hops between processes", sections.HOPS, sections.hop_rows(review))
    table(out, "kept from running by the machine", sections.QUEUED, sections.queued_rows(review.starvation))
    starts.show(review, out)
    watchers.show(review, out)


def _head(findings: Findings, out: Console) -> None:
    """What is wrong, what was run, and which part of it is shown."""
    review = findings.review
    for problem in review.problems:
        show_text(out, problem, "bold red")
    for warning in sections.machine_warnings(review):
        show_text(out, warning, "bold yellow")
    show_text(out, review.about, "dim")
    if review.window:
        show_text(out, review.window, "bold")
    show_text(out, sections.headline(review))
    for line in sections.watching_lines(findings):
        show_text(out, line, "dim")
