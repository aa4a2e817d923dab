"""What the prefix cache gave, and what evictions and preemptions cost, as tables."""

from __future__ import annotations

from rich.console import Console

from probes.console import Rows, percent, table, us
from tracing.breakdown.review import Review
from tracing.page import html

CACHE = [
    *("core", "requests", "prompt tokens", "found", "share"),
    *("evicted blocks", "again, evicted", "preemptions", "again, preempted"),
]
PREEMPTIONS = ["victim", "step", "for lack of", "tokens held", "again", "ran again after"]
SECTION = "The prefix cache, evictions and preemptions"
SENTENCE = (
    "Prompt tokens found in the cache at admission; those that had been cached and were evicted before, and so were "
    "computed again (at least); and what preempted requests computed again. Only full blocks from the front are found."
)


def cache_rows(review: Review) -> Rows:
    return [
        [
            *(row.core_pid, row.requests, f"{row.prompt_tokens:,}", f"{row.found_tokens:,}"),
            percent(row.found_tokens / row.prompt_tokens) if row.prompt_tokens else "n/a",
            "n/a" if row.evicted_blocks is None else f"{row.evicted_blocks:,}",
            *(f"{row.evicted_tokens:,}", row.preemptions, f"{row.preempted_tokens:,}"),
        ]
        for row in review.prefix_cache
    ]


def preemption_rows(review: Review) -> Rows:
    """A row each of those that cost most."""
    return [
        [
            *(row.request, row.step, row.cause, f"{row.held_tokens:,}"),
            "n/a" if row.again_tokens is None else f"{row.again_tokens:,}",
            us(row.wait_ns),
        ]
        for row in review.preemptions
    ]


def show(review: Review, out: Console) -> None:
    """Both tables on a terminal."""
    table(
        out,
        "the prefix cache, evictions and preemptions (again: tokens that were computed again)",
        CACHE,
        cache_rows(review),
    )
    table(out, "preempted requests, those that cost most first", PREEMPTIONS, preemption_rows(review), (2,))


def sections(review: Review) -> list[tuple[str, str, str]]:
    """The same for the page."""
    if not review.prefix_cache:
        return []
    lost = html.table(PREEMPTIONS, preemption_rows(review), text=(0, 2)) if review.preemptions else ""
    return [(SECTION, SENTENCE, html.table(CACHE, cache_rows(review)) + lost)]
