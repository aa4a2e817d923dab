"""What the prefix cache gave, and what evictions and preemptions cost, as tables."""

from __future__ import annotations

from rich.console import Console

from probes.console import Section, percent, show_section, us
from probes.htmlpage import table_section
from tracing.breakdown.review import Review
from tracing.page.tables.steptables import with_core

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


def cache_table(review: Review) -> Section:
    """A row a core."""
    rows = [
        [
            *(str(row.core_pid), str(row.requests), f"{row.prompt_tokens:,}", f"{row.found_tokens:,}"),
            percent(row.found_tokens / row.prompt_tokens if row.prompt_tokens else None),
            "n/a" if row.evicted_blocks is None else f"{row.evicted_blocks:,}",
            *(f"{row.evicted_tokens:,}", str(row.preemptions), f"{row.preempted_tokens:,}"),
        ]
        for row in review.prefix_cache
    ]
    return Section("the prefix cache, evictions and preemptions (again: tokens that were computed again)", CACHE, rows)


def preemption_table(review: Review) -> Section:
    """A row each of those that cost most; where the trace has several engines they say which."""
    rows = [
        [
            *(row.request, str(row.step), row.cause),
            *("n/a" if tokens is None else f"{tokens:,}" for tokens in (row.held_tokens, row.again_tokens)),
            us(row.wait_ns),
        ]
        for row in review.preemptions
    ]
    columns, rows = with_core(review, PREEMPTIONS, rows, [str(row.core_pid) for row in review.preemptions])
    return Section("preempted requests, those that cost most first", columns, rows, (0, columns.index("for lack of")))


def show(review: Review, out: Console) -> None:
    """Both tables on a terminal."""
    for each in (cache_table(review), preemption_table(review)):
        show_section(out, each)


def sections(review: Review) -> list[tuple[str, str, str]]:
    """The same for the page."""
    if not review.prefix_cache:
        return []
    tables = [each for each in (cache_table(review), preemption_table(review)) if each.rows]
    return [(SECTION, SENTENCE, "".join(table_section(each).body for each in tables))]
