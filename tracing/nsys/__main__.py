"""Prints the review of a run out of what Nsight Systems recorded: NVTX ranges, and CUDA activity where there is."""

from __future__ import annotations

import argparse
import json
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probes.arguments import CommandParser
from probes.errors import run_main

if TYPE_CHECKING:
    from rich.console import Console

    from tracing.breakdown.findings import Findings
    from tracing.nsys.file import Report
    from tracing.timeline.spans import Timeline

EXAMPLES = """examples:
  python -m tracing.record --nsys -- python my_script.py     makes traces/<folder>/nsys.nsys-rep and nsys.sqlite
  python -m tracing.nsys traces/<folder>/nsys.sqlite
  python -m tracing.nsys profile.nsys-rep --json             exports profile.sqlite first, where it is not there
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
    arguments.add_argument("--json", action="store_true", help="print the figures as JSON, times in nanoseconds")
    return arguments


def main() -> int:
    """The command."""
    from probes.console import console

    args = parser().parse_args()
    findings, figures = reviewed(args.file)
    if args.json:
        print(json.dumps(figures, indent=1))
        return 0
    show(findings, figures, console())
    return 0


def reviewed(path: Path) -> tuple[Findings, dict[str, Any]]:
    """The findings of a report, and as figures: the review's JSON with `stages` and `clock`."""
    from dataclasses import replace

    from tracing.breakdown.findings import analyze
    from tracing.breakdown.review import RecorderCost, as_json
    from tracing.nsys import file, ranges
    from tracing.nsys.gpu import gpu

    report = file.read(path)
    timeline = ranges.timeline(report)
    findings = analyze(timeline)
    offset_ns, off_by_ns = ranges.clock(report)
    review = replace(
        findings.review,
        about=about(report, timeline),
        problems=(*findings.review.problems, *ranges.missing(report, timeline)),
        cost=RecorderCost(len(timeline.spans), None, None, ()),  # nsys's own is not in its report
        gpu=gpu(report, timeline, findings.steps, findings.hops, offset_ns),
    )
    clock = {"offset_ns": offset_ns, "uncertainty_ns": off_by_ns}
    return replace(findings, review=review), as_json(review) | {"stages": stages(timeline), "clock": clock}


def about(report: Report, timeline: Timeline) -> str:
    return (
        f"{report.path}: Nsight Systems {report.version}, schema {report.schema}; {len(report.ranges):,} ranges in "
        f"{len({p['pid'] for p in timeline.processes if p['pid']})} processes; {len(report.activity):,} GPU activities"
    )


def stages(timeline: Timeline) -> list[dict[str, Any]]:
    """A row a role and stage: `count`, `median_ns`, `p95_ns`, `sum_ns` of its spans, which may contain each other.

    A scope that is none of ours goes by its name.
    """
    from tracing.nsys.ranges import stage_names
    from tracing.sites.engine import SCOPE_SITE

    spans = timeline.spans.assign(stage=stage_names(timeline))
    spans = spans[(spans["share"] != "frame") | (spans["site"] == SCOPE_SITE.name)]
    took = spans["end_ns"] - spans["start_ns"]
    rows = []
    for (role, stage), times in took.groupby([spans["role"].astype(str), spans["stage"]]):
        figures = {"median_ns": int(times.median()), "p95_ns": int(times.quantile(0.95)), "sum_ns": int(times.sum())}
        rows.append({"role": role, "stage": stage, "count": len(times), **figures})
    return sorted(rows, key=lambda row: (row["role"], -row["sum_ns"]))


# --- tables ---


def show(findings: Findings, figures: dict[str, Any], out: Console) -> None:
    """The review on a terminal, then what the GPU did; what the report cannot say is said to be missing."""
    from probes.console import table
    from tracing.page import sections
    from tracing.page.watchers import show_gpu

    review = findings.review
    if review.requests.total or review.steps:
        sections.show(findings, out)
    else:
        for problem in review.problems:
            out.print(problem, style="bold red", markup=False)
        out.print(review.about, style="dim", markup=False)
        columns = ["role", "stage", "count", "median", "P95", "sum"]
        table(out, "stages by role (they may lie inside each other)", columns, stage_rows(figures["stages"]), (1,))
    if review.gpu is None:
        out.print("\nGPU: n/a (no CUDA activity in this report; nsys records none of AMD GPUs)")
    else:
        show_gpu(review.gpu, out)


def stage_rows(stages: list[dict[str, Any]]) -> list[list[Any]]:
    """Of each role the stages with the largest sums, the others as one row."""
    from rich.markup import escape

    from probes.console import us
    from tracing.nsys.gpu import MOST_ROWS

    rows = []
    for _, of_role in groupby(stages, key=lambda stage: stage["role"]):
        largest = list(of_role)
        # One row is not worth a row that stands for it.
        shown = len(largest) if len(largest) <= MOST_ROWS + 1 else MOST_ROWS
        rows += [
            [r["role"], escape(r["stage"]), f"{r['count']:,}", us(r["median_ns"]), us(r["p95_ns"]), us(r["sum_ns"])]
            for r in largest[:shown]
        ]
        if others := largest[shown:]:
            count, sum_ns = (sum(other[name] for other in others) for name in ("count", "sum_ns"))
            rows.append([others[0]["role"], f"… {len(others)} others", f"{count:,}", "n/a", "n/a", us(sum_ns)])
    return rows


if __name__ == "__main__":
    run_main(main)
