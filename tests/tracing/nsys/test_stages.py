"""Ranges of vLLM and of other programs, and a report without any: the stages that their time is summed by."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.tracing.nsys.nsyscommand import run
from tests.tracing.nsys.nsysfiles import NsysWriter
from tracing.nsys.__main__ import stage_rows
from tracing.nsys.reportreview import StageTimes, review_report


def test_vllm_scopes_stand_in_where_our_ranges_are_missing(tmp_path: Path) -> None:
    writer = NsysWriter(tmp_path / "r.sqlite")
    writer.range(7, 7, 10, 20, "llm_engine step: process_outputs", domain="")
    writer.range(9, 9, 12, 40, "gpu_model_runner: forward", domain="").range(
        9, 9, 50, 51, "nccl:all_reduce", domain="NCCL"
    )
    review = review_report(writer.close())
    assert [(row.role, row.stage, row.sum_ns) for row in review.stages] == [
        ("front end", "process outputs", 10),
        ("worker", "forward", 28),
        ("worker", "nccl:all_reduce", 1),
    ]
    assert "no ranges of the domain enginescope" in review.findings.review.problems[0]
    assert review.findings.review.requests.total == 0


def test_processes_that_are_not_vllm_have_a_role_of_their_own_and_their_ranges_are_folded(tmp_path: Path) -> None:
    """As torch.autograd.profiler.emit_nvtx names the operators of a training job, and people their steps."""
    writer = NsysWriter(tmp_path / "r.sqlite")
    for pid in (7, 8):
        for number in range(40):
            at = 1000 * number
            writer.range(pid, pid, at, at + 100, f"train step {number}", domain="")
            writer.range(pid, pid, at, at + 10, f"aten::mul_, op_id = {number}", domain="")
            writer.range(pid, pid, at + 20, at + 50, f"aten::mul, seq = {number}, op_id = {number}", domain="")
    review = review_report(writer.close())
    assert [(row.role, row.stage, row.count, row.sum_ns) for row in review.stages] == [
        ("other", "train step", 80, 8000),
        ("other", "aten::mul", 80, 2400),
        ("other", "aten::mul_", 80, 800),
    ]
    assert review.findings.review.problems == (
        "no range in this report is enginescope's or vLLM's: stages are the names of the ranges, folded",
    )


@pytest.mark.parametrize(
    ("text", "stage"),
    [
        ("step_12", "step"),
        ("iteration[7]", "iteration"),
        ("batch=3", "batch"),
        ("aten::addmm, op_id = 9, sizes = [[8, 4], [4, 4]]", "aten::addmm"),
        ("execute_context_2(64)_generation_5(5)", "execute"),
        ("execute_69_context_2(sq64sk64sqsq9sqsk9)_generation_5(sq5sk70sqsq5sqsk70)", "execute"),
        ("MmBackward0", "MmBackward0"),
        ("layers.3.mlp", "layers.3.mlp"),
    ],
)
def test_a_number_that_counts_is_no_part_of_a_name(text: str, stage: str, tmp_path: Path) -> None:
    review = review_report(NsysWriter(tmp_path / "r.sqlite").range(7, 7, 1, 5, text, domain="").close())
    assert [row.stage for row in review.stages] == [stage]


def test_what_has_no_end_is_no_time(tmp_path: Path) -> None:
    """A kernel that was still running, and a range whose end stands before its start."""
    writer = NsysWriter(tmp_path / "r.sqlite").launch(9, 9, 10, 20, 1).activity("kernel", 9, 30, 60, 1, "gemm")
    with sqlite3.connect(
        writer.range(9, 9, 50, 20, "train", domain="").range(9, 9, 5, 70, "all", domain="").close()
    ) as file:
        insert = "INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL SELECT start + 40, NULL, deviceId, contextId, streamId, 2,"
        file.execute(f"{insert} globalPid, 0, 0, 0 FROM CUPTI_ACTIVITY_KIND_KERNEL")
    review = review_report(tmp_path / "r.sqlite")
    assert [(row.stage, row.sum_ns) for row in review.stages] == [("all", 65)]
    assert review.findings.review.gpu is not None
    assert [(stage.stage, stage.kernels) for stage in review.findings.review.gpu.stages] == [("all", 1)]


def test_many_stages_are_the_largest_and_one_row_of_the_others() -> None:
    stages = [StageTimes("other", f"op{n}", count=2, median_ns=1, p95_ns=1, sum_ns=1000) for n in range(50)]
    rows = stage_rows(stages)
    assert len(rows) == 31 and rows[0][:3] == ["other", "op0", "2"]
    assert rows[-1] == ["other", "… 20 others", "40", "n/a", "n/a", "20.0 µs"]
    assert len(stage_rows(stages[:31])) == 31, "one row is not worth a row that stands for it"


def test_a_report_without_ranges_is_summed_without_stages(tmp_path: Path) -> None:
    writer = NsysWriter(tmp_path / "r.sqlite").launch(9, 9, 10, 20, 1)
    path = writer.activity("kernel", 9, 30_000, 60_000, 1, "gemm").activity("kernel", 9, 90_000, 91_000, 2).close()
    with sqlite3.connect(path) as file:
        file.execute("DROP TABLE NVTX_EVENTS")
    review = review_report(path)
    assert review.stages == () and "summed without stages" in review.findings.review.problems[0]
    summary = review.findings.review.gpu
    assert summary is not None
    [stage] = summary.stages
    assert (stage.stage, stage.kernels, stage.kernel_ns) == ("outside of any range", 2, 31_000)
    [device] = summary.devices
    assert (device.busy_ns, device.gaps, device.gap_ns) == (31_000, 1, 30_000)
    done = run(str(path))
    assert done.returncode == 0 and "outside of steps (sums)" in done.stdout
    assert "medians a step" not in done.stdout
