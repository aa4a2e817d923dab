"""Prints the review of a run out of what Nsight Systems recorded: NVTX ranges, and CUDA activity where there is.

With a second report it prints by family what the kernels take longer there, and what less.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from probes.arguments import CommandParser
from probes.errors import run_main, usage_error

if TYPE_CHECKING:
    from rich.console import Console

    from tracing.nsys.reportreview import ReportReview, StageTimes

EXAMPLES = """examples:
  python -m tracing.record --nsys -- python my_script.py     makes traces/<folder>/nsys.nsys-rep and nsys.sqlite
  python -m tracing.nsys traces/<folder>/nsys.sqlite
  python -m tracing.nsys profile.nsys-rep --json             exports profile.sqlite first, where it is not there
  python -m tracing.nsys before.sqlite after.sqlite          which family of kernels takes longer than before
"""


def parser() -> argparse.ArgumentParser:
    arguments = CommandParser(
        prog="python -m tracing.nsys",
        description="Where the time went, from an Nsight Systems report alone: enginescope's NVTX ranges, vLLM's own "
        "scopes where these are missing, and the GPU's activity.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_argument("file", type=Path, metavar="FILE", help="a .nsys-rep, or the .sqlite exported from one")
    arguments.add_argument("after", type=Path, nargs="?", metavar="FILE", help="a later one: what takes longer there")
    arguments.add_argument("--json", action="store_true", help="print the figures as JSON, times in nanoseconds")
    return arguments


def main() -> int:
    """The command."""
    args = parser().parse_args()
    if args.after and args.json:
        raise usage_error("--json is for one report, not for two that are compared")
    from probes.console import console
    from tracing.nsys.reportreview import review_report

    review = review_report(args.file)
    if args.after:
        compare(review, review_report(args.after), console())
    elif args.json:
        print(json.dumps(review.as_dict(), indent=1))
    else:
        show(review, console())
    return 0


def compare(before: ReportReview, after: ReportReview, out: Console) -> None:
    """Print what changed from one report's kernels to another's."""
    from tracing.breakdown.kernels.difference import family_changes
    from tracing.page.tables.kernelchanges import show_changes

    if before.work is None or after.work is None:
        raise usage_error("one of the reports has no CUDA activity, or both: their kernels cannot be compared")
    show_changes(family_changes(before.work, after.work), out)


def show(report: ReportReview, out: Console) -> None:
    """The review on a terminal, then what the GPU did; what the report cannot say is said to be missing."""
    from probes.console import show_text, table
    from tracing.page.tables.watchers import show as show_watchers
    from tracing.page.terminal import show as show_review

    review = report.findings.review
    if review.requests.total or review.steps:
        show_review(report.findings, out)
    else:
        for problem in review.problems:
            show_text(out, problem, "bold red")
        show_text(out, review.about, "dim")
        columns = ["role", "stage", "count", "median", "P95", "sum"]
        table(out, "stages by role (they may lie inside each other)", columns, stage_rows(report.stages), (1,))
        show_watchers(review, out)
    if review.gpu is None:
        out.print("\nGPU: n/a (no CUDA activity in this report; nsys records none of AMD GPUs)")


def stage_rows(stages: Sequence[StageTimes]) -> list[list[str]]:
    """Of each role the stages with the largest sums, the others as one row."""
    from probes.console import us
    from tracing.nsys.gpu import MOST_ROWS

    rows = []
    for role, of_role in groupby(stages, key=lambda stage: stage.role):
        largest = list(of_role)
        # One row is not worth a row that stands for it.
        shown = len(largest) if len(largest) <= MOST_ROWS + 1 else MOST_ROWS
        rows += [
            [role, each.stage, f"{each.count:,}", us(each.median_ns), us(each.p95_ns), us(each.sum_ns)]
            for each in largest[:shown]
        ]
        if others := largest[shown:]:
            count, sum_ns = sum(each.count for each in others), sum(each.sum_ns for each in others)
            rows.append([role, f"… {len(others)} others", f"{count:,}", "n/a", "n/a", us(sum_ns)])
    return rows


if __name__ == "__main__":
    run_main(main)
