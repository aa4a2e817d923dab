"""Reports of Nsight Systems: generated ones give the review that the same spans give as event files."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from probes.doctor.surroundings import Surroundings
from probes.errors import EnginescopeError
from probes.machine import Gpu, fingerprint
from tests.tracing.nsys.nsysfiles import NsysWriter, as_captured
from tests.tracing.stories import DURATIONS, NS, stream
from tests.tracing.timeline.test_anatomy import write as write_steps
from tests.tracing.tracerecords import recorded
from tracing import timeline
from tracing.breakdown.findings import analyze, findings
from tracing.breakdown.requests import budget
from tracing.events.layout import TRACED
from tracing.nsys import capture, ranges
from tracing.nsys import file as nsysfile
from tracing.nsys.__main__ import stage_rows
from tracing.nsys.reportreview import StageTimes, review_report
from tracing.page.sections import watching_lines
from tracing.timeline import requests
from tracing.timeline.index import Index
from tracing.timeline.spans import Timeline

ROOT = Path(__file__).resolve().parents[3]


def captured(folder: Path, later: bool = False, clock_ns: int = 0) -> tuple[Timeline, Path]:
    """A synthetic trace folder's timeline, and the same as a report."""
    read = timeline.read(folder)
    return read, as_captured(read, NsysWriter(folder / "nsys.sqlite", later), clock_ns).close()


def budgets(read: Timeline) -> list[dict[str, int]]:
    index = Index(read)
    return [budget.budget(index, flow) for flow in requests.flows(index)]


@settings(max_examples=25, deadline=None)
@given(ns=DURATIONS)
def test_ranges_alone_give_the_budgets_of_the_event_files(ns: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stream(Path(folder), ns)
        read, report = captured(Path(folder), later=ns[0] % 2 == 0)
        assert budgets(ranges.timeline(nsysfile.read(report))) == budgets(read)


def test_the_whole_review_is_that_of_the_event_files(tmp_path: Path) -> None:
    stream(tmp_path, NS)
    read, report = captured(tmp_path, clock_ns=500)
    ours = analyze(read).review
    review = review_report(report)
    for part in ("requests", "budget", "steps", "hops", "slow_steps", "roles", "unexplained_share_median"):
        assert getattr(review.findings.review, part) == getattr(ours, part), part
    assert review.findings.review.problems == () and review.findings.review.gpu is None
    assert review.as_dict()["clock"] == {"offset_ns": 500, "uncertainty_ns": 1}


def test_clock_marks_that_contradict_each_other_are_an_error(tmp_path: Path) -> None:
    """The clock of the report went 400 ns slower between two pairs of marks; it was an uncertainty of 200 ns."""
    writer = NsysWriter(tmp_path / "r.sqlite").range(9, 1, 10, 20, "kv.lookup a", 4)
    for at, clock in ((1, 101), (2, 102), (1000, 1500), (1001, 1501)):
        writer.mark(9, 1, at, ["process", 1, "core"], clock)
    with pytest.raises(EnginescopeError, match=r"contradict each other by 0\.4 µs"):
        ranges.clock(nsysfile.read(writer.close()))


def test_steps_and_their_phases(tmp_path: Path) -> None:
    write_steps(tmp_path, collection=3)
    read, report = captured(tmp_path)
    assert review_report(report).findings.review.steps == analyze(read).review.steps


def test_what_a_mark_says_is_of_the_range_before_it(tmp_path: Path) -> None:
    writer = NsysWriter(tmp_path / "r.sqlite")
    writer.range(9, 1, 10, 20, "kv.lookup a", 4).mark(9, 1, 21, ["told", "kv.lookup", 32, 0, None, 0], 4)
    writer.range(9, 1, 30, 40, "kv.lookup b", 4).range(9, 2, 31, 41, "kv.lookup c", 4)
    writer.range(9, 1, 50, 60, "core.receive").mark(9, 1, 61, ["told", "client.receive", 7, 0, None, 0], 10**15)
    writer.range(9, 1, 70, 80, "llm.add_request d").mark(9, 1, 81, ["told", "llm.add_request", 0, 0, None, 1], -1)
    spans = ranges.timeline(nsysfile.read(writer.close())).spans
    columns = ["site", "request", "value", "step", "raised", "thread"]
    assert spans[columns].astype(object).where(spans[columns].notna(), None).to_numpy().tolist() == [
        ["kv.lookup", "a", 32, 4, False, 1],
        ["kv.lookup", "b", 0, 4, False, 1],
        ["kv.lookup", "c", 0, 4, False, 2],
        ["client.receive", None, 7, 10**15, False, 1],
        ["llm.add_request", "d", 0, -1, True, 1],
    ]


def test_a_request_that_was_preempted_in_its_step_was_not_in_it(tmp_path: Path) -> None:
    writer = NsysWriter(tmp_path / "r.sqlite")
    writer.range(9, 1, 10, 20, "kv.allocate a", 0).range(9, 1, 20, 30, "kv.allocate b", 0)
    writer.range(9, 1, 30, 40, "kv.allocate c", 0).mark(9, 1, 41, ["told", "kv.allocate", 16, 1, None, 0], 0)
    writer.range(9, 1, 50, 60, "scheduler.preempt b", 0)
    batches = ranges.timeline(nsysfile.read(writer.close())).batches
    assert batches[["step", "request"]].astype(object).to_numpy().tolist() == [[0, "a"]]


def test_the_traces_that_a_front_end_noted(tmp_path: Path) -> None:
    header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    writer = NsysWriter(tmp_path / "r.sqlite").range(9, 1, 10, 20, "llm.add_request a")
    writer.mark(9, 1, 15, ["list", TRACED, 0, "a", header, 0], -1)
    traced = ranges.timeline(nsysfile.read(writer.close())).traced
    columns = ["pid", "external", "traceparent", "is_own", "at_ns"]
    assert traced[columns].to_numpy().tolist() == [[9, "a", header, 0, 15]]


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


def test_a_range_that_never_ended_is_counted(tmp_path: Path) -> None:
    writer = NsysWriter(tmp_path / "r.sqlite").range(9, 1, 10, 20, "kv.lookup a").range(9, 1, 30, None, "kv.lookup b")
    read = ranges.timeline(nsysfile.read(writer.close()))
    assert (len(read.spans), read.torn) == (1, 1)


# --- what is no report ---


def without(path: Path, statement: str) -> Path:
    """A report of the right kind, then changed."""
    NsysWriter(path).range(9, 1, 10, 20, "kv.lookup a").close()
    with sqlite3.connect(path) as file:
        file.execute(statement)
    return path


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("ALTER TABLE NVTX_EVENTS RENAME COLUMN globalTid TO thread", "missing: NVTX_EVENTS.globalTid"),
        ("ALTER TABLE StringIds RENAME TO Strings", "missing: table StringIds"),
        ("ALTER TABLE EXPORT_META_DATA RENAME TO ABOUT", "missing: table META_DATA_EXPORT or EXPORT_META_DATA"),
        (
            "UPDATE EXPORT_META_DATA SET value = '4.1.0' WHERE name = 'EXPORT_SCHEMA_VERSION'",
            "unknown layout: schema 4.1.0, Nsight Systems 2022.4.2.1",
        ),
        ("DROP TABLE NVTX_EVENTS", "has no NVTX events and no CUDA activity"),
        ("CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INTEGER, end INTEGER)", "CUPTI_ACTIVITY_KIND_KERNEL.deviceId"),
    ],
)
def test_an_unknown_layout_is_named(statement: str, error: str, tmp_path: Path) -> None:
    path = without(tmp_path / "r.sqlite", statement)
    with pytest.raises(EnginescopeError, match=error.replace(".", r"\.")):
        nsysfile.read(path)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tracing.nsys", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_no_report_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.sqlite").write_text("this is no database, and too long for an empty one" * 10)
    empty = NsysWriter(tmp_path / "empty.sqlite").close()
    faults = (
        (1, tmp_path / "text.sqlite", "cannot be read as SQLite"),
        (1, empty, "has no NVTX events and no CUDA activity"),
        (2, tmp_path / "none", "there is no file"),
        (2, tmp_path, "is a folder: name its nsys.nsys-rep"),
    )
    for code, path, words in faults:
        done = run(str(path))
        assert done.returncode == code and done.stderr.count("\n") == 1 and words in done.stderr


def test_what_is_printed(tmp_path: Path) -> None:
    stream(tmp_path, NS)
    _, report = captured(tmp_path)
    text, figures = run(str(report)).stdout, json.loads(run(str(report), "--json").stdout)
    assert "1 of 1 requests whole (1 stopped)" in text and "GPU: n/a" in text
    assert "Nsight Systems 2022.4.2.1, schema 3.0.0" in text
    assert sum(part["share"] for part in figures["budget"]) == pytest.approx(1)


# --- starting it ---


def test_cuda_is_traced_by_graph_node_where_there_is_a_gpu() -> None:
    assert capture.flags(True)[:2] == ["--trace=cuda,nvtx,osrt", "--cuda-graph-trace=node"]
    assert capture.flags(False)[0] == "--trace=nvtx,osrt"
    for cuda in (True, False):
        assert {"--trace-fork-before-exec=true", "--wait=all", "--sample=none"} <= set(capture.flags(cuda))


def test_the_review_says_what_the_flags_changed(tmp_path: Path) -> None:
    """Beside the folder's own review, that of the report in it."""
    stream(tmp_path, NS)
    _, report = captured(tmp_path)
    on_cpu = replace(fingerprint(), gpus=())
    recorded(tmp_path, nsys=True, machine=replace(on_cpu, gpus=(Gpu("H100", "575", 2**36),)))
    graphs = "CUDA graphs, if any, were traced node by node, so their replays took longer"
    assert f"nsys's flags: {graphs}; processes that vLLM started, if any, were spawned unless" in flat(report)
    recorded(tmp_path, nsys=True, machine=on_cpu)
    assert "nsys's flags: processes that vLLM started, if any, were spawned unless" in flat(report)
    assert watching_lines(findings(tmp_path))[0].startswith("nsys's flags: processes")
    recorded(tmp_path, machine=on_cpu)
    assert "nsys's flags" not in flat(report)


def flat(report: Path) -> str:
    """What the command prints, as one line."""
    return " ".join(run(str(report)).stdout.split())


def test_on_amd_gpus_it_says_what_nsys_does_not_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "nsys").write_text("#!/bin/sh\n")
    (tmp_path / "nsys").chmod(0o755)
    monkeypatch.setattr(capture, "here", lambda: Surroundings(root=tmp_path, programs=str(tmp_path)))
    capture.under(["true"], tmp_path)
    assert capsys.readouterr().err == ""
    (tmp_path / "dev" / "kfd").touch()
    assert "--trace=nvtx,osrt" in capture.under(["true"], tmp_path)
    assert "records nothing of AMD GPUs" in capsys.readouterr().err


def test_an_amd_gpu_that_its_driver_names_is_not_traced_as_cuda(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nsys").write_text("#!/bin/sh\n")
    (tmp_path / "nsys").chmod(0o755)
    gpus = (Gpu("MI300X", "6.10.5", None, vendor="amd"),)
    monkeypatch.setattr(capture, "here", lambda: Surroundings(root=tmp_path, programs=str(tmp_path), gpus=gpus))
    assert "--trace=nvtx,osrt" in capture.under(["true"], tmp_path)
    assert "records nothing of AMD GPUs" in capsys.readouterr().err


def test_no_nsys_is_one_line_before_anything_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tracing.record", "--nsys", "--out", str(tmp_path / "t"), "--", "echo", "started"]
    alone = os.environ | {"PATH": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert "nsys is not on the PATH" in done.stderr


def test_what_holds_neither_ranges_nor_work_of_a_gpu_counts_as_empty(tmp_path: Path) -> None:
    assert capture.empty_files(tmp_path) == ()
    path = NsysWriter(tmp_path / "nsys.sqlite").close()
    assert capture.empty_files(tmp_path) == ()
    with sqlite3.connect(path) as file:
        file.execute("DROP TABLE NVTX_EVENTS")
    assert capture.empty_files(tmp_path) == ("nsys.nsys-rep", "nsys.sqlite")


@pytest.mark.skipif(shutil.which("nsys") is None, reason="no nsys here")
@pytest.mark.parametrize(
    ("word", "code", "line"),
    [
        ("true", 1, "nothing was recorded, and no folder is left"),
        ("./no-such-program", 2, "error: cannot run './no-such-program': No such file or directory"),
    ],
)
def test_a_command_without_an_engine_leaves_no_report(word: str, code: int, line: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tracing.record", "--nsys", "--out", str(tmp_path / "t"), "--", word]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (code, line)
    assert not (tmp_path / "t").exists()


def test_a_folder_without_a_recording_is_a_problem(tmp_path: Path) -> None:
    assert "nsys left no recording" in capture.finish(tmp_path)[0]
