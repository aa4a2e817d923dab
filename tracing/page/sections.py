"""The review's tables: for the terminal with rich, and as the sections of its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape as escape_html
from typing import Any

from rich.console import Console

from probes.console import Rows, percent, show_text, table, us
from tracing.breakdown.findings import Findings
from tracing.breakdown.review import Review, SlowStep
from tracing.breakdown.starvation import Starvation
from tracing.page import html, lanes, starts, steptables, watchers

SHOWN_SHARE = 0.0005  # of all latency, from which a part is shown at first sight
MARGIN = 0.03  # of a window, on both sides of what it is about


def budget_rows(review: Review) -> Rows:
    return [[part.stage, us(part.median_ns), us(part.p95_ns), part.share] for part in review.budget]


def hop_rows(review: Review) -> Rows:
    return [[hop.hop, hop.count, us(hop.median_ns), us(hop.p95_ns), hop.bytes_median or "n/a"] for hop in review.hops]


BUDGET = ["stage", "median", "P95", "share"]
HOPS = ["hop", "count", "median", "P95", "bytes"]
QUEUED = ["role", "pid", "thread", "in the run queue", "share"]
SLOW_REQUESTS = ["request", "took", "likely reason"]


def slow_steps(slow: Sequence[SlowStep], engines: int) -> tuple[list[str], Rows]:
    """The columns and rows of the slowest steps; where the trace has several engines they say which."""
    columns = ["step", "kind", "tokens", "took", "median", "likely reason"]
    rows = [[step.step, step.kind, step.tokens, us(step.ns), us(step.median_ns), step.reason] for step in slow]
    if engines > 1:
        columns.insert(1, "core")
        for row, step in zip(rows, slow, strict=True):
            row.insert(1, step.core_pid)
    return columns, rows


def slow_request_rows(review: Review) -> Rows:
    return [[request.request, us(request.ns), request.reason] for request in review.slow_requests]


def queued_rows(starvation: Starvation | None) -> Rows:
    """A row a thread; none where the machine was not sampled."""
    threads = starvation.threads if starvation else ()
    return [[row.role, row.pid, row.thread, us(row.queued_ns), percent(row.share)] for row in threads]


def machine_warnings(review: Review) -> list[str]:
    """What the machine did to the figures: the trace is whole all the same."""
    return review.starvation.warnings() if review.starvation else []


def machine_line(starvation: Starvation | None) -> str:
    if starvation is None:
        return "How long the machine kept the engine's threads from running was not sampled."
    return (
        f"While there was traffic: over the CPU quota at most {percent(starvation.throttled_share)}, taken by the "
        f"hypervisor {percent(starvation.steal_share)}; sampled ten times a second, from outside."
    )


def headline(review: Review) -> str:
    requests, cost = review.requests, review.cost
    states = ", ".join(f"{count} {state}" for state, count in requests.states.items())
    per_span = f"{cost.ns_per_span} ns a span" if cost.ns_per_span else "cost not measured"
    whole = (
        f"{requests.whole} of {requests.total} requests whole ({states}); unexplained "
        f"{percent(review.unexplained_share_median)} at the median, "
        f"{us(review.unexplained_ns_per_token_median)} an output token"
    )
    return (
        f"{whole if requests.total else 'no request was seen'}; "
        f"{cost.spans:,} spans, {review.dropped_spans} dropped, {per_span}, "
        f"{percent(cost.share)} of the busiest thread (an estimate)"
    )


def ledger_lines(review: Review) -> list[str]:
    """A line a row of the ledger that is about this machine and these watchers."""
    return [str(row) for row in review.cost.ledger]


def show(findings: Findings, out: Console) -> None:
    """The review on a terminal."""
    review = findings.review
    for problem in review.problems:
        show_text(out, problem, "bold red")
    for warning in machine_warnings(review):
        show_text(out, warning, "bold yellow")
    show_text(out, review.about, "dim")
    show_text(out, headline(review))
    for line in ledger_lines(review):
        show_text(out, line, "dim")
    large = [[*row[:-1], percent(row[-1])] for row in budget_rows(review) if _large(row)]
    table(out, "where a request's time goes", BUDGET, large)
    table(out, "what a step is made of (medians)", *steptables.step_table(review.steps, bool(review.devices)))
    if steptables.overlapping(review.steps):
        show_text(out, steptables.OVERLAP, "dim")
    if len(review.workers) > 1:
        table(out, "workers", steptables.WORKERS, steptables.worker_rows(review))
        if sentence := steptables.straggler(review.workers):
            show_text(out, sentence)
    for device in review.devices:
        show_text(out, watchers.sentence(device))
    table(out, "hops between processes", HOPS, hop_rows(review))
    columns, slow = slow_steps(review.slow_steps, len(review.roles.get("core", ())))
    table(out, "slowest steps (median: of as many tokens)", columns, slow[:5], (len(columns) - 1,))
    table(out, "slowest requests", SLOW_REQUESTS, slow_request_rows(review)[:5], (2,))
    table(out, "kept from running by the machine", QUEUED, queued_rows(review.starvation))
    starts.show(review, out)
    watchers.show(review, out)


def sections(findings: Findings) -> list[tuple[str, str, str]]:
    """The page's sections: heading, a sentence, HTML."""
    review = findings.review
    columns, slow = slow_steps(review.slow_steps, len(review.roles.get("core", ())))
    return [
        ("In short", headline(review), "".join(f"<p>{escape_html(line)}</p>" for line in ledger_lines(review))),
        *drawings(findings),
        (
            "Where a request's time goes",
            "From the call of generate to the last output; every nanosecond counts once, and waits lie between two "
            "recorded events.",
            _budget_table(budget_rows(review)),
        ),
        ("What a step is made of", steptables.sentences(review), _steps(review)),
        (
            "Hops between processes",
            "Latency from the end of sending to the receiver's start; to the worker from the start of dispatch.",
            html.table(HOPS, hop_rows(review)),
        ),
        (
            "Slowest steps",
            "Those above the median of steps of their kind with as many tokens, and the likely reason.",
            html.table(columns, slow, text=(1, len(columns) - 1)),
        ),
        (
            "Slowest requests",
            "With the part that most exceeds the median request's.",
            html.table(SLOW_REQUESTS, slow_request_rows(review), text=(0, 2)),
        ),
        (
            "Kept from running by the machine",
            machine_line(review.starvation),
            html.table(QUEUED, queued_rows(review.starvation), text=(0,)),
        ),
        *starts.sections(findings),
        *watchers.sections(review),
    ]


def _steps(review: Review) -> str:
    parts = [html.table(*steptables.step_table(review.steps, bool(review.devices)))]
    if idle := steptables.idle_rows(review.steps):
        parts.append(html.table(steptables.IDLE, idle, text=(0, 2)))
    if len(review.workers) > 1:
        parts.append(html.table(steptables.WORKERS, steptables.worker_rows(review)))
        parts.append(f"<p>{escape_html(steptables.straggler(review.workers))}</p>")
    parts += [f"<p>{escape_html(watchers.sentence(device))}</p>" for device in review.devices]
    return "".join(parts)


def _large(row: list[Any]) -> bool:
    """Whether a row of the budget is shown at first sight."""
    return bool(row[-1] >= SHOWN_SHARE or row[0] == "unexplained")


def _budget_table(rows: Rows) -> str:
    small = [row for row in rows if not _large(row)]
    large = html.table(BUDGET, [row for row in rows if _large(row)], share=3)
    if not small:
        return large
    words = f"{len(small)} parts under {SHOWN_SHARE:.2%} each, together {percent(sum(row[-1] for row in small))}"
    return f"{large}<details><summary>{words}</summary>{html.table(BUDGET, small, share=3)}</details>"


def drawings(findings: Findings, links: Mapping[str, str] | None = None) -> list[tuple[str, str, str]]:
    """Swim lanes of a decode step of median length and of the median request; bars lead where `links` says, by site."""
    sections = []
    decodes = findings.steps[findings.steps["kind"] == "decode"]
    if len(decodes):
        lengths = decodes["end_ns"] - decodes["start_ns"]
        step = decodes.loc[(lengths - lengths.median()).abs().idxmin()]
        svg = _lanes(findings, int(step["start_ns"]), int(step["end_ns"]), links)
        sections.append((f"One step: decode step {step['step']}, of median length", "Pale bars are waits.", svg))
    whole = sorted((f for f in findings.flows if f.state in ("finished", "stopped")), key=lambda flow: flow.latency_ns)
    if whole:
        flow = whole[len(whole) // 2]
        svg = _lanes(findings, flow.start_ns, flow.end_ns, links)
        sections.append((f"One request: {flow.request}, the median", "From the call to its last output.", svg))
    return sections


def _lanes(findings: Findings, start_ns: int, end_ns: int, links: Mapping[str, str] | None) -> str:
    margin = int((end_ns - start_ns) * MARGIN)
    return lanes.drawing(findings.timeline, start_ns - margin, end_ns + margin, start_ns, links=links)
