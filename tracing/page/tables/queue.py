"""Why requests waited in the queue, what the steps used of their budgets, and which CUDA graphs ran them, as tables."""

from __future__ import annotations

from rich.console import Console

from probes.console import Rows, percent, table
from tracing.breakdown.review import Review
from tracing.page import html

REASONS = ["reason", "steps", "of the steps with a queue", "waiting (median)"]
USE = ["step", "steps", "tokens, of at most", "used", "requests, of at most", "used", "full"]
GRAPHS = ["step", "graph", "steps", "of the kind", "padded to (steps)", "padding"]
SECTION = "Why requests wait in the queue, and what a batch leaves unused"
SENTENCE = (
    "What kept the head of the queue out of a step, as the scheduler decided it; and the mean share of its tokens and "
    "requests that a step used. Full is a step with no room left of one of them."
)
OF_GRAPHS = (
    "Which CUDA graph ran the steps, to what sizes their batches were padded for that, and how much of what was "
    "computed is padding; NONE is a step without one."
)


def reason_rows(review: Review) -> Rows:
    return [[row.reason, row.steps, percent(row.share), f"{row.waiting_median:g}"] for row in review.queue]


def use_rows(review: Review) -> Rows:
    return [
        [
            *(row.kind, row.steps, f"{row.token_limit:,}", percent(row.token_share)),
            *(f"{row.sequence_limit:,}", percent(row.sequence_share), percent(row.full_share)),
        ]
        for row in review.use
    ]


def graph_rows(review: Review) -> Rows:
    return [
        [
            *(row.kind, row.mode, row.steps, percent(row.share)),
            ", ".join(f"{size.tokens:,} ({size.steps:,})" for size in row.sizes) or "n/a",
            percent(row.padding_share),
        ]
        for row in review.graphs
    ]


def show(review: Review, out: Console) -> None:
    """The tables on a terminal, where the trace tells them."""
    table(out, "why the head of the queue waited", REASONS, reason_rows(review))
    table(out, "what a step used of its budgets (means)", USE, use_rows(review))
    table(out, "which CUDA graph ran", GRAPHS, graph_rows(review), (1, 4))


def sections(review: Review) -> list[tuple[str, str, str]]:
    """The same for the page."""
    sentences, tables = [], []
    if review.use:
        sentences = [SENTENCE]
        tables = [html.table(REASONS, reason_rows(review)) if review.queue else "<p>No step left a queue.</p>"]
        tables.append(html.table(USE, use_rows(review)))
    if review.graphs:
        sentences.append(OF_GRAPHS)
        tables.append(html.table(GRAPHS, graph_rows(review), text=(0, 1, 4)))
    return [(SECTION, " ".join(sentences), "".join(tables))] if tables else []
