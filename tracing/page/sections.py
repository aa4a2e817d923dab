"""The review's page, section by section, and the rows of its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape as escape_html
from typing import Any

from probes.console import Rows, percent, us
from tracing.breakdown.findings import Findings
from tracing.breakdown.requests.parts import parts
from tracing.breakdown.review import Review
from tracing.breakdown.starvation import Starvation
from tracing.events.tracefile import read_trace
from tracing.nsys import capture
from tracing.page import html
from tracing.page.drawings import flame, lanes
from tracing.page.drawings.lanes import Bar, Lane
from tracing.page.tables import devicewaits, firstscreen, prefixcache, queue, starts, steptables, watchers
from tracing.page.tables.requesttable import request_table
from tracing.timeline.requests import Flow
from tracing.timeline.spans import on_device

SHOWN_SHARE = 0.0005  # of all latency, from which a part is shown at first sight
ZOOM = 64  # times that a reader may zoom into a drawing and still see all of its longest spans
MARGIN = 0.03  # of a window, on both sides of what it is about


def budget_rows(review: Review) -> Rows:
    return [[part.stage, us(part.median_ns), us(part.p95_ns), part.share] for part in review.budget]


def hop_rows(review: Review) -> Rows:
    return [[hop.hop, hop.count, us(hop.median_ns), us(hop.p95_ns), hop.bytes_median or "n/a"] for hop in review.hops]


BUDGET = ["stage", "median", "P95", "share"]
HOPS = ["hop", "count", "median", "P95", "bytes"]
QUEUED = ["role", "pid", "thread", "in the run queue", "share"]
SLOW_REQUESTS = ["longest", "took", "requests", "likely reason"]


def slow_steps(review: Review) -> tuple[list[str], Rows]:
    """The columns and rows of the slowest steps; where the trace has several engines they say which."""
    columns, slow = ["step", "kind", "tokens", "took", "median", "likely reason"], review.slow_steps
    rows = [[step.step, step.kind, step.tokens, us(step.ns), us(step.median_ns), step.reason] for step in slow]
    return steptables.with_core(review, columns, rows, [step.core_pid for step in slow])


def slow_request_rows(review: Review) -> Rows:
    return [[row.request, us(row.ns), row.count, row.reason] for row in review.slow_requests]


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
    if cost.ns_per_span is None:
        costs = "cost not measured"
    else:
        costs = (
            f"watching took {us(cost.ns_per_span)} a span, {us(cost.ns_per_step)} a step, "
            f"{percent(cost.share)} of the busiest thread"
        )
    whole = (
        f"{requests.whole} of {requests.total} requests whole ({states}); unexplained "
        f"{percent(review.unexplained_share_median)} at the median, "
        f"{us(review.unexplained_ns_per_token_median)} an output token"
    )
    return (
        f"{whole if requests.total else 'no request was seen'}; "
        f"{cost.spans:,} spans, {review.dropped_spans} dropped; {costs}"
    )


def watching_lines(findings: Findings) -> list[str]:
    """What watching changed: by nsys's flags, and a line a row of the ledger about this machine and these watchers."""
    flags = capture.changes(read_trace(findings.timeline.folder))
    return flags + [str(row) for row in findings.review.cost.ledger]


def sections(findings: Findings) -> list[tuple[str, str, str]]:
    """The page's sections: heading, a sentence, HTML."""
    review = findings.review
    notes = "".join(f"<p>{escape_html(line)}</p>" for line in (review.window, *watching_lines(findings)) if line)
    return [
        ("In short", headline(review), notes + firstscreen.first_screen(findings)),
        (
            "Where a request's time goes",
            "From the call of generate to the last output; every nanosecond counts once, and waits lie between two "
            "recorded events.",
            _budget_table(budget_rows(review)),
        ),
        *(_requests(findings) if findings.flows else []),
        *drawings(findings),
        ("What a step is made of", steptables.sentences(review), _steps(findings)),
        *_slow_steps(review),
        *queue.sections(review),
        *prefixcache.sections(review),
        (
            "Hops between processes",
            "Latency from the end of sending to the receiver's start; to the worker from the start of dispatch.",
            html.table(HOPS, hop_rows(review)),
        ),
        (
            "Kept from running by the machine",
            machine_line(review.starvation),
            html.table(QUEUED, queued_rows(review.starvation), text=(0,)),
        ),
        *starts.sections(findings),
        *watchers.sections(review),
        *flame.sections(findings.stacks),
    ]


def _requests(findings: Findings) -> list[tuple[str, str, str]]:
    """All requests, and above them the reasons of the slow ones."""
    slow = html.table(SLOW_REQUESTS, slow_request_rows(findings.review), text=(0, 3))
    return [
        (
            "Slow requests",
            "The slowest 5 %, but at least ten, by the part that most exceeds the median request's.",
            slow,
        ),
        (
            "All requests",
            "Click a heading to sort by it; click again to reverse the order. TTFT, TPOT and ITL are of those that "
            "finished, as their callers had them.",
            request_table(findings),
        ),
    ]


def _slow_steps(review: Review) -> list[tuple[str, str, str]]:
    columns, slow = slow_steps(review)
    sentence = "Those above the median of steps of their kind with as many tokens, and the likely reason."
    return [("Slowest steps", sentence, html.table(columns, slow, text=(columns.index("kind"), len(columns) - 1)))]


def _steps(findings: Findings) -> str:
    review = findings.review
    columns, rows = steptables.step_table(review.steps, on_device(findings.timeline))
    turned = [list(row) for row in zip(columns[1:], *(row[1:] for row in rows), strict=True)]
    parts = [html.table([columns[0], *(str(row[0]) for row in rows)], turned)]
    if idle := steptables.idle_rows(review.steps):
        parts.append(html.table(steptables.IDLE, idle, text=(0, 2)))
    if len(review.workers) > 1:
        parts.append(html.table(*steptables.worker_table(review)))
        parts.append(f"<p>{escape_html(steptables.straggler(review.workers))}</p>")
    parts += [f"<p>{escape_html(devicewaits.sentence(device))}</p>" for device in review.devices]
    return "".join(parts)


def is_large(row: Sequence[Any]) -> bool:  # of `Rows`
    """Whether a row of the budget is shown at first sight."""
    return bool(row[-1] >= SHOWN_SHARE or row[0] == "unexplained")


def _budget_table(rows: Rows) -> str:
    small = [row for row in rows if not is_large(row)]
    large = html.table(BUDGET, [row for row in rows if is_large(row)], share=3)
    if not small:
        return large
    return f"{large}<details><summary>{small_parts(rows)}</summary>{html.table(BUDGET, small, share=3)}</details>"


def small_parts(rows: Rows) -> str:
    """How many rows of the budget are not shown at first sight, and their share; empty where all are."""
    shares = [row[-1] for row in rows if not is_large(row)]
    if len(shares) < 2:
        return f"{len(shares)} part under {SHOWN_SHARE:.2%}: {percent(shares[0])}" if shares else ""
    return f"{len(shares)} parts under {SHOWN_SHARE:.2%} each, together {percent(sum(shares))}"


def drawings(findings: Findings, links: Mapping[str, str] | None = None) -> list[tuple[str, str, str]]:
    """Swim lanes of a decode step of median length and of the median request, to be zoomed.

    Where `links` has addresses by site the bars lead there, and the drawings stand still.
    """
    sections = []
    decodes = findings.steps[findings.steps["kind"] == "decode"]
    if len(decodes):
        lengths = decodes["end_ns"] - decodes["start_ns"]
        step = decodes.loc[(lengths - lengths.median()).abs().idxmin()]
        svg = _lanes(findings, int(step["start_ns"]), int(step["end_ns"]), links)
        sections.append(
            (f"One step: decode step {step['step']}, of median length", _with_help("Pale bars are waits.", links), svg)
        )
    whole = sorted((flow for flow in findings.flows if flow.is_complete), key=lambda flow: flow.latency_ns)
    if whole:
        flow = whole[len(whole) // 2]
        svg = _lanes(findings, flow.start_ns, flow.end_ns, links, [_request_lane(findings, flow)])
        sentence = "From the call to its last output; the first lane is its budget in turn."
        sections.append((f"One request: {flow.request}, the median", _with_help(sentence, links), svg))
    return sections


def _with_help(sentence: str, links: Mapping[str, str] | None) -> str:
    return f"{sentence} {lanes.HELP}" if links is None else sentence


def _lanes(
    findings: Findings, start_ns: int, end_ns: int, links: Mapping[str, str] | None, above: Sequence[Lane] = ()
) -> str:
    margin = int((end_ns - start_ns) * MARGIN)
    start, end = start_ns - margin, end_ns + margin
    below = lanes.thread_lanes(findings.timeline, start, end, links, zoom=ZOOM if links is None else 1)
    svg = lanes.picture([*above, *below], start, end, start_ns)
    return lanes.zoomable(svg) if links is None else svg


def _request_lane(findings: Findings, flow: Flow) -> Lane:
    """A request's time by part: its waits, in the queue too, are seen where no thread has a span of it."""
    bars = [
        Bar(
            part.start_ns,
            part.end_ns,
            part.name,
            part.name,
            part.name.startswith("wait"),
            f"{part.name}, {us(part.end_ns - part.start_ns)}, of request {flow.request}",
        )
        for part in parts(findings.index, flow)
    ]
    return Lane("the request", [(bar, 0) for bar in bars])
