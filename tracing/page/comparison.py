"""Two traces compared: the stages of the mean request, and the phases of its decode steps, that take longer or less.

The replicates are blocks of time within each trace, which say nothing of other engine starts.
"""

from __future__ import annotations

from rich.console import Console

from probes.console import show_text, table, us
from tracing.breakdown.changes import (
    CHANGE_COLUMNS,
    Budget,
    StageChange,
    block_means,
    change_cells,
    changes_sentence,
    stage_changes,
)
from tracing.breakdown.findings import Findings
from tracing.timeline.steps.phases import NAMES

UNDER = (
    "The replicates are up to eight blocks of time of one trace each: the intervals say nothing of other engine "
    "starts. Requests that overlap share their steps and stand in one block."
)


def show(before: Findings, after: Findings, out: Console) -> None:
    """Print what changed from one trace to another, the answer first."""
    changes = trace_changes(before, after)
    if not changes:
        show_text(out, "The traces have neither whole requests nor decode steps in common: nothing can be compared.")
    for part, (whole, *stages) in changes.items():
        times = f"A {part} takes {us(whole.after_ns)}, before {us(whole.before_ns)}"
        show_text(out, f"{times}; {changes_sentence(stages)}.", "bold")
    for part, stages in changes.items():
        table(out, f"The mean {part}", list(CHANGE_COLUMNS), [change_cells(change) for change in stages])
    if changes:
        out.print()
        show_text(out, UNDER)


def trace_changes(before: Findings, after: Findings) -> dict[str, list[StageChange]]:
    """The changes of the mean request, then of the mean decode step; those that only one trace has are left out."""
    parts = {"request": request_blocks, "decode step": decode_steps}
    changes = {
        part: stage_changes([(block_means(budgets(before)), block_means(budgets(after)))])
        for part, budgets in parts.items()
    }
    return {part: each for part, each in changes.items() if each}


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
    """The nanoseconds by phase of each step that only decodes, in order."""
    steps = findings.steps[findings.steps["kind"] == "decode"].sort_values("start_ns")
    names = (*NAMES, "unexplained")
    rows = steps[[f"{name}_ns" for name in names]].to_numpy(dtype=float).tolist()
    return [dict(zip(names, row, strict=True)) for row in rows]
