"""Two traces compared: the stages of the mean request, and the phases of its decode steps, that take longer or less.

The replicates are blocks of time within each trace, which say nothing of other engine starts.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console

from probes.console import show_text
from tracing.breakdown.changes import CHANGE_COLUMNS, Budget, StageChange, block_means, stage_changes
from tracing.breakdown.findings import Findings
from tracing.page.tables import changes as tables
from tracing.page.tables.changes import ChangeWords
from tracing.timeline.spans import on_device
from tracing.timeline.steps.phases import NAMES, title

WORDS = ChangeWords(
    sentence=lambda part: f"A {part} takes",
    title=lambda part: f"The mean {part}",
    rows=CHANGE_COLUMNS[0],
    intervals="The replicates are up to eight blocks of time of one trace each: the intervals say nothing of other "
    "engine starts. Requests that overlap share their steps and stand in one block.",
    nothing="The traces have neither whole requests nor decode steps in common: nothing can be compared.",
)


def show(before: Findings, after: Findings, out: Console) -> None:
    """Print what changed from one trace to another, and what is in one of them alone."""
    tables.show(trace_changes(before, after), WORDS, out)
    for line in in_one_alone(before, after):
        show_text(out, line)


def trace_changes(before: Findings, after: Findings) -> dict[str, list[StageChange]]:
    """The changes of the mean request, then of the mean decode step; those that only one trace has are left out."""
    parts = {"request": request_blocks, "decode step": decode_steps}
    changes = {
        part: stage_changes([(block_means(budgets(before)), block_means(budgets(after)))])
        for part, budgets in parts.items()
    }
    return {part: each for part, each in changes.items() if each}


def in_one_alone(before: Findings, after: Findings) -> Iterator[str]:
    """A line a trace with the stages that its requests passed and those of the other did not, the longest first."""
    both = [[part.stage for part in findings.review.budget] for findings in (before, after)]
    for which, mine, others in (("first", *both), ("second", *both[::-1])):
        alone = [stage for stage in mine if stage not in others]
        if alone and others:
            yield f"Stages of the {which} trace alone: {', '.join(alone)}."


def request_blocks(findings: Findings) -> list[Budget]:
    """The mean whole request of each stretch of time between whose requests none ran on, in order."""
    budgets = dict(zip(findings.budgets.index, findings.budgets.to_dict("records"), strict=True))
    blocks: list[list[Budget]] = []
    end_ns = 0
    for flow in findings.flows:
        if budget := budgets.get(flow.request):
            if flow.start_ns >= end_ns:
                blocks.append([])
            blocks[-1].append(budget)
            end_ns = max(end_ns, flow.end_ns)
    return [block_means(block, count=1)[0] for block in blocks]


def decode_steps(findings: Findings) -> list[Budget]:
    """The nanoseconds by phase of each step that only decodes, in order; a launch is another phase than the work."""
    steps = findings.steps[findings.steps["kind"] == "decode"].sort_values("start_ns")
    phases, launches = (*NAMES, "unexplained"), on_device(findings.timeline)
    names = [title(phase, launches) for phase in phases]
    rows = steps[[f"{phase}_ns" for phase in phases]].to_numpy(dtype=float).tolist()
    return [dict(zip(names, row, strict=True)) for row in rows]
