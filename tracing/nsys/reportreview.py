"""The review of an Nsight Systems report alone: the findings of its ranges, the times of its stages, and its clock."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd

from tracing.breakdown.cost import RecorderCost
from tracing.breakdown.findings import Findings, analyze
from tracing.breakdown.kernels.summary import summary
from tracing.breakdown.kernels.work import with_kinds
from tracing.breakdown.review import as_json
from tracing.nsys import file, ranges
from tracing.nsys.annotated import in_steps, named_steps
from tracing.nsys.file import Report
from tracing.nsys.gpu import attributed, gpu, work
from tracing.sites.engine import SCOPE_SITE
from tracing.sites.site import ENCLOSING
from tracing.timeline.spans import Timeline


@dataclass(frozen=True)
class StageTimes:
    """The spans of a stage in a role, which may contain each other: how many, how long they took."""

    role: str
    stage: str
    count: int
    median_ns: int
    p95_ns: int
    sum_ns: int


@dataclass(frozen=True)
class ReportClock:
    """What to add to a time of the report for CLOCK_MONOTONIC, and how far off that may be; None is not known."""

    offset_ns: int
    uncertainty_ns: int | None


@dataclass(frozen=True)
class ReportReview:
    """An Nsight Systems report: the findings of its ranges, the times of the stages by role, and its clock.

    `work` is the GPU's, as `tracing.breakdown.kernels.work.with_kinds` gives it; None without CUDA activity.
    """

    findings: Findings
    stages: tuple[StageTimes, ...]
    clock: ReportClock
    work: pd.DataFrame | None

    def as_dict(self) -> dict[str, object]:
        """For JSON: the review, with `stages` and `clock`."""
        rest = {"stages": [asdict(row) for row in self.stages], "clock": asdict(self.clock)}
        return as_json(self.findings.review) | rest


def review_report(path: Path) -> ReportReview:
    """A report, reviewed; `EnginescopeError` where it cannot be read."""
    report = file.read(path)
    timeline = ranges.timeline(report)
    findings = analyze(timeline)
    offset_ns, off_by_ns = ranges.clock(report)
    review, device_work = findings.review, None
    if len(report.activity):
        activity = attributed(report, timeline, offset_ns)
        device_work = _work(report, activity, findings, offset_ns)
        of_gpu = gpu(activity, findings.index, findings.steps, findings.hops, findings.machine)
        review = replace(review, gpu=of_gpu, kernels=summary(device_work))
    review = replace(
        review,
        about=about(report, timeline),
        problems=(*review.problems, *ranges.missing(report, timeline)),
        cost=RecorderCost(len(timeline.spans), None, None, None, ()),  # nsys's own is not in its report
    )
    clock = ReportClock(offset_ns, off_by_ns)
    return ReportReview(replace(findings, review=review), stages(timeline), clock, device_work)


def _work(report: Report, activity: pd.DataFrame, findings: Findings, offset_ns: int) -> pd.DataFrame:
    """The GPU's work in the steps of enginescope's ranges, or in those that vLLM's profiler names."""
    if len(findings.steps):
        return with_kinds(work(activity), findings.steps)
    steps = named_steps(report, offset_ns)
    return with_kinds(work(in_steps(activity, steps)), steps)


def about(report: Report, timeline: Timeline) -> str:
    return (
        f"{report.path}: Nsight Systems {report.version}, schema {report.schema}; {len(report.ranges):,} ranges in "
        f"{len({p.pid for p in timeline.processes if p.pid})} processes; {len(report.activity):,} GPU activities"
    )


def stages(timeline: Timeline) -> tuple[StageTimes, ...]:
    """The times of each stage by role, the largest sum first. A scope that is none of ours goes by its name."""
    spans = timeline.spans.assign(stage=ranges.stage_names(timeline))
    spans = spans[~spans["share"].isin(ENCLOSING) | (spans["site"] == SCOPE_SITE.name)]
    lengths = (spans["end_ns"] - spans["start_ns"]).groupby([spans["role"].astype(str), spans["stage"]])
    rows = [
        StageTimes(role, stage, len(each), int(each.median()), int(each.quantile(0.95)), int(each.sum()))
        for (role, stage), each in lengths
    ]
    return tuple(sorted(rows, key=lambda row: (row.role, -row.sum_ns)))
