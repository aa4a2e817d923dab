"""Torch traces on the timeline: sums with known answers on synthetic ones, and the clock on one that torch writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.errors import EnginescopeError
from tests.needs import needs_torch
from tests.tracing import chrome_traces
from tests.tracing.chrome_traces import AHEAD_NS, event
from tests.tracing.test_anatomy import STEP
from tests.tracing.test_anatomy import write as write_steps
from tests.tracing.test_perfetto import check
from tests.tracing.traces import TraceWriter
from tracing import review, timeline
from tracing.breakdown import findings
from tracing.breakdown.otherwatchers import LargestOperator, OperatorStage
from tracing.page import perfetto
from tracing.page.tables.watchers import operator_rows
from tracing.timeline import innermost
from tracing.torchsums import __main__ as torchsumscommand
from tracing.torchsums import operators, reader, trace
from tracing.torchsums.trace import Event

ROOT = Path(__file__).resolve().parents[2]
ANCHOR = {"monotonic_ns": 0, "wall_ns": AHEAD_NS, "uncertainty_ns": 40}

# Of the worker below: a step that executes from 1,000 to 2,000, of which the model's forward is 1,200 to 1,800.
OPERATORS = [
    event("cpu_op", "aten::slice", 1100, 1150),
    event("cpu_op", "aten::linear", 1200, 1500),  # its own: 300 - 200
    event("cpu_op", "aten::addmm", 1250, 1450),
    event("cpu_op", "aten::linear", 1500, 1540),
    event("cpu_op", "aten::empty", 2500, 2510),
    event("python_function", "model.py(12): forward", 1200, 1800),
    event("user_annotation", "execute", 1000, 2000),
]
KERNELS = [
    event("kernel", "early", 1900, 1930, 0, 7, correlation=3),  # torch may write it before its launch
    event("cuda_runtime", "cudaLaunchKernel", 1300, 1310, correlation=3),
    event("cuda_runtime", "cudaGraphLaunch", 1610, 1620, correlation=4),
    event("kernel", "gemm<float>", 2000, 2400, 0, 7, correlation=4),
    event("kernel", "gemm<float>", 2400, 2900, 0, 7, correlation=4),
    event("cuda_runtime", "cudaMemcpyAsync", 1950, 1960, correlation=5),
    event("gpu_memcpy", "Memcpy DtoH", 3000, 3005, 0, 20, correlation=5),
    event("kernel", "orphan", 3000, 3001, 0, 7, correlation=99),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return worker(tmp_path, ANCHOR)


def worker(folder: Path, anchor: dict[str, int]) -> Path:
    writer = TraceWriter(folder, 12, ["worker"])
    writer.span("worker.execute", 1000, 2000, step=5).span("model.forward", 1200, 1800, step=5)
    writer.span("scope", 1200, 1700, step=-1, extra="a scope of vLLM's")
    writer.close(anchor=anchor)
    return folder


def sums(folder: Path) -> dict[tuple[str, str, str], tuple[int, int]]:
    """Count and own time by kind, name and stage; by step they are the same in all."""
    read = operators.read(timeline.read(folder))
    assert read is not None and not read.problems, read
    by_kind = [frame.groupby("kind", observed=True)[["count", "own_ns"]].sum() for frame in (read.names, read.steps)]
    assert by_kind[0].equals(by_kind[1])
    assert ((read.steps["stage"] == innermost.OUTSIDE) == (read.steps["step"] == -1)).all()
    rows = read.names.itertuples(index=False, name=None)
    return {(kind, name, stage): (count, own) for kind, name, stage, count, own in rows}


def test_operators_count_with_their_own_time_where_they_began(folder: Path) -> None:
    chrome_traces.write(folder / "torch" / "rank0.json", OPERATORS)
    assert sums(folder) == {
        ("operator", "aten::slice", "execute"): (1, 50),
        ("operator", "aten::linear", "forward"): (2, 140),
        ("operator", "aten::addmm", "forward"): (1, 200),
        ("operator", "aten::empty", innermost.OUTSIDE): (1, 10),
    }


@pytest.mark.parametrize("chunk", [1, 3, 50_000])
def test_kernels_belong_to_the_span_of_their_launch(folder: Path, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "CHUNK_EVENTS", chunk)
    monkeypatch.setattr(reader, "MOST_ROWS", chunk)
    chrome_traces.write(folder / "torch" / "rank0.json.gz", KERNELS)
    assert sums(folder) == {
        ("kernel", "early", "forward"): (1, 30),
        ("kernel", "gemm<float>", "forward"): (2, 900),
        ("copy", "Memcpy DtoH", "execute"): (1, 5),
        ("kernel", "orphan", innermost.OUTSIDE): (1, 1),
    }


def stepped(folder: Path, attention_ns: int) -> Path:
    """Four steps of a core and a worker on two devices; each launches attention, and an all-reduce beside it."""
    write_steps(folder)
    TraceWriter(folder, 10, ["front end"]).close(anchor=ANCHOR | {"uncertainty_ns": 0})
    for rank in (0, 1):
        events = []
        for step in range(4):
            at, call = step * STEP + 320_000, 2 * step
            events += [
                event("cuda_runtime", "cudaLaunchKernel", at, at + 2000, correlation=call + 1),
                event("kernel", "flash_fwd_kernel", at + 5000, at + 5000 + attention_ns, 0, 7, correlation=call + 1),
                event("cuda_runtime", "cudaLaunchKernel", at + 2000, at + 4000, correlation=call + 2),
                event("kernel", "ncclDevKernel_AllReduce", at + 7000, at + 90_000, 0, 9, correlation=call + 2),
            ]
        chrome_traces.write(folder / "torch" / f"rank{rank}.json", events)
    return folder


def test_the_kernels_of_steps_by_family(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert torchsumscommand.show(stepped(tmp_path, 30_000), None, None) == 0
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    families = [["communication", "1", "83.0", "µs", "73.45%"], ["attention", "1", "30.0", "µs", "26.55%"]]
    assert [line[1:] for line in shown if line[:1] == ["prefill"]] == [
        *families,
        ["2", "0", "2", "0", "0%"],  # a step on each of two devices; the second kernel began beside the first
        ["83.0", "µs", "55.0", "µs", "28.0", "µs", "66.27%"],
    ]


def test_two_folders_are_compared_by_family(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = (stepped(tmp_path / str(length), length) for length in (30_000, 50_000))
    assert torchsumscommand.compare(before, after) == 0
    said = capsys.readouterr().out.splitlines()[0]
    assert said == (
        "The kernels of a prefill step take 133.0 µs, before 113.0 µs; attention +20.0 µs (+20.0 µs to +20.0 µs)."
    )


@pytest.mark.parametrize("name", ["rank0.json", "rank0.json.gz"])
def test_the_base_time_may_stand_after_the_events(folder: Path, name: str) -> None:
    chrome_traces.write(folder / "torch" / name, [*OPERATORS[:3], *KERNELS[1:3]], base_last=True)
    assert sums(folder) == {
        ("operator", "aten::slice", "execute"): (1, 50),
        ("operator", "aten::linear", "forward"): (1, 100),
        ("operator", "aten::addmm", "forward"): (1, 200),
    }
    read = operators.read(timeline.read(folder))
    assert read is not None and read.about() == "3 operators, 2 launches, 0 kernels, 0 copies of 1 file"


@pytest.mark.parametrize(
    ("launch", "work", "copy"),
    [
        ("cuda_runtime", "kernel", "gpu_memcpy"),  # CUDA, and ROCm
        ("hip_runtime", "kernel", "gpu_memcpy"),
        ("xpu_runtime", "kernel", "gpu_memset"),
        ("mtia_runtime", "mtia_ccp_events", "gpu_memcpy"),
        ("privateuse1_runtime", "kernel", "gpu_memcpy"),
    ],
)
def test_every_kind_of_device(folder: Path, launch: str, work: str, copy: str) -> None:
    events = [
        event(launch, "launch", 1300, 1310, correlation=3),
        event(work, "gemm", 2000, 2400, 0, 7, correlation=3),
        event(launch, "copy", 1950, 1960, correlation=5),
        event(copy, "Memcpy DtoH", 3000, 3005, 0, 7, correlation=5),
    ]
    chrome_traces.write(folder / "torch" / "rank0.json", events)
    assert sums(folder) == {("kernel", "gemm", "forward"): (1, 400), ("copy", "Memcpy DtoH", "execute"): (1, 5)}


def test_a_device_named_by_a_text(folder: Path) -> None:
    kernel = event("kernel", "gemm", 2000, 2400, 0, 7, correlation=3) | {"pid": "GPU 1", "tid": "stream 20"}
    path = chrome_traces.write(folder / "torch" / "rank0.json", [kernel])
    [read] = trace.events(path, AHEAD_NS)
    assert (read.pid, read.thread, read.start_ns) == (1, 20, 2000)


def test_ranks_add_up_and_their_launches_stay_apart(folder: Path) -> None:
    for rank in (0, 1):
        launch = event("cuda_runtime", "cudaLaunchKernel", 1300 + 800 * rank, 1310 + 800 * rank, correlation=3)
        kernel = event("kernel", "gemm", 1900, 1930, rank, 7, correlation=3)
        chrome_traces.write(folder / "torch" / f"rank{rank}.json", [*OPERATORS[:1], launch, kernel])
    assert sums(folder) == {
        ("operator", "aten::slice", "execute"): (2, 100),
        ("kernel", "gemm", "forward"): (1, 30),
        ("kernel", "gemm", innermost.OUTSIDE): (1, 30),
    }


def test_the_review_says_what_of_a_stage_was_operators(folder: Path) -> None:
    chrome_traces.write(folder / "torch" / "rank0.json", OPERATORS + KERNELS)
    summary = findings.findings(folder).review.operators
    assert summary is not None and (summary.steps, summary.clock_uncertainty_ns) == (1, 40)
    by_stage = {row.stage: row for row in summary.stages}
    assert by_stage["forward"] == OperatorStage("forward", 600, operator_ns=340, kernel_ns=930, copy_ns=0)
    assert by_stage["execute"].span_ns == 400 and by_stage["execute"].copy_ns == 5
    assert summary.rows[0] == LargestOperator("forward", "gemm<float>", "kernel", 2, 900, share=900 / 936)
    assert review.review(folder) == 0
    assert "gemm&lt;float&gt;" in (folder / "review.html").read_text()


def test_a_folder_without_torch_traces_says_nothing_of_them(folder: Path) -> None:
    assert findings.findings(folder).review.operators is None


def test_operators_and_streams_are_tracks(folder: Path) -> None:
    chrome_traces.write(folder / "torch" / "rank0.json", OPERATORS + KERNELS)
    perfetto.export(timeline.read(folder), [], timeline.read(folder).spans.iloc[:0], folder / "trace.pftrace")
    read = check(folder / "trace.pftrace")
    assert {"operators (1)", "device 0, stream 7: rank0.json", "device 0, stream 20: rank0.json"} <= set(read["tracks"])
    assert read["names"].count("aten::linear") == 2 and "cudaLaunchKernel" not in read["names"]


# --- what is not as it should be ---


def problems(folder: Path) -> list[str]:
    read = operators.read(timeline.read(folder))
    assert read is not None
    return read.problems


def test_a_file_cut_short_counts_as_far_as_it_goes(folder: Path) -> None:
    path = chrome_traces.write(folder / "torch" / "rank0.json", OPERATORS)
    path.write_bytes(path.read_bytes()[:-400])
    read = operators.read(timeline.read(folder))
    assert read is not None and read.names["count"].sum() >= 3
    assert read.problems == ["rank0.json ends in the middle: its profiler was not stopped (stop_profile)"]


def test_an_event_that_ends_before_it_begins_is_named(folder: Path) -> None:
    """A negative time would make shares above 100 %."""
    chrome_traces.write(folder / "torch" / "rank0.json", [event("cpu_op", "aten::mm", 1500, 1400), *OPERATORS])
    assert problems(folder)[0] == "rank0.json: its event aten::mm ends before it begins"


@pytest.mark.parametrize("content", [b"hello", b'{"traceEvents": [{"ph": "X", "dur": NaN}]}'])
def test_what_is_no_json_is_not_said_to_end_early(folder: Path, content: bytes) -> None:
    (folder / "torch").mkdir(exist_ok=True)
    (folder / "torch" / "rank0.json").write_bytes(content)
    problem = problems(folder)[0]
    assert "ends in the middle" not in problem and problem.startswith("rank0.json ")


@pytest.mark.parametrize("content", [b"", b"hello", b'{"traceEvents": [{"ph": "X", "cat": "cpu_op"}]}', b"[1, 2]"])
def test_what_is_no_trace_is_one_line(folder: Path, content: bytes) -> None:
    for name in ("rank0.json", "rank1.json.gz"):
        path = folder / "torch" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    read = problems(folder)
    assert len(read) >= 1 and all("\n" not in line for line in read)


def test_no_base_time_and_another_machine(folder: Path) -> None:
    chrome_traces.write(folder / "torch" / "rank0.json", OPERATORS, base_ns=None)
    assert "no baseTimeNanoseconds" in problems(folder)[0]
    chrome_traces.write(folder / "torch" / "rank0.json", OPERATORS, base_ns=chrome_traces.BASE_NS + 10**12)
    assert "outside of all spans" in problems(folder)[0]
    summary = findings.findings(folder).review.operators
    assert summary is not None and summary.steps == 0
    assert {tuple(row[3:5]) for row in operator_rows(summary)} == {("n/a", "n/a")}  # calls and own time a step


def test_a_wall_clock_that_was_set_shows(folder: Path) -> None:
    TraceWriter(folder, 13, ["core"]).close(anchor=ANCHOR | {"wall_ns": AHEAD_NS + 5000, "uncertainty_ns": 50})
    clock = trace.clock(timeline.read(folder))
    assert clock == (AHEAD_NS, 5040)


def test_the_command(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tracing.torchsums", str(folder)]

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert run().returncode == 2 and "holds no torch/" in run().stderr  # as in tracing.pyspy without samples
    chrome_traces.write(folder / "torch" / "rank0.json", OPERATORS, base_ns=None)
    nothing = run()
    assert nothing.returncode == 1 and nothing.stdout == "" and nothing.stderr.count("\n") == 1
    assert "no baseTimeNanoseconds" in nothing.stderr
    chrome_traces.write(folder / "torch" / "rank0.json", OPERATORS)
    done = run("--step", "5", "--csv", str(tmp_path / "sums.csv"))
    assert done.returncode == 0 and "aten::addmm" in done.stdout and "aten::empty" not in done.stdout
    assert "operator,forward,5,3,340" in (tmp_path / "sums.csv").read_text().splitlines()
    assert run("--step", "6").returncode == 2


# --- the arithmetic ---


@st.composite
def calls(draw: st.DrawFn, start: int = 0, depth: int = 3) -> list[tuple[int, int]]:
    """Intervals of one thread that nest as calls do, in the order of their starts."""
    nested, at = [], start
    for _ in range(draw(st.integers(0, 3))):
        at += draw(st.integers(0, 5))
        inside = draw(calls(start=at, depth=depth - 1)) if depth else []
        end = max([at, *(end for _, end in inside)]) + draw(st.integers(0, 5))
        nested += [(at, end), *inside]
        at = end
    return nested


@given(calls())
def test_own_times_add_up_to_the_time_that_is_covered(intervals: list[tuple[int, int]]) -> None:
    events = [Event("operator", "op", 1, 1, start, end, 0) for start, end in intervals]
    own = [own_ns for _, own_ns in reader.nested(events)]
    assert len(own) == len(intervals) and all(each >= 0 for each in own)
    assert sum(own) == len({instant for start, end in intervals for instant in range(start, end)})


# --- a trace that the installed torch writes ---

REAL = """
import json, os, sys, threading, time
import torch
from torch.profiler import ProfilerActivity, profile
from tracing.hooks.recorder import anchor
clock, marks, matrix = anchor(), [], torch.randn(64, 64)
torch.mm(matrix, matrix)
with profile(activities=[ProfilerActivity.CPU]) as watched:
    for _ in range(5):
        time.sleep(0.01)
        start = time.monotonic_ns()
        torch.mm(matrix, matrix)
        marks.append((start, time.monotonic_ns()))
watched.export_chrome_trace(sys.argv[1])
print(json.dumps({"pid": os.getpid(), "thread": threading.get_native_id(), "anchor": clock, "marks": marks}))
"""


@needs_torch
@pytest.mark.slow(15)
def test_what_torch_writes_lies_where_it_ran(tmp_path: Path) -> None:
    path = tmp_path / "torch" / "mine.json.gz"
    path.parent.mkdir()
    command = [sys.executable, "-c", REAL, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    process: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    writer = TraceWriter(tmp_path, process["pid"], ["worker"], threads={process["thread"]: "MainThread"})
    for step, (start, end) in enumerate(process["marks"]):
        writer.span("model.forward", start, end, step=step, thread=process["thread"])
    writer.close(anchor=process["anchor"])
    assert {key[2]: count for key, (count, _) in sums(tmp_path).items() if key[1] == "aten::mm"} == {"forward": 5}
    for step in range(5):
        read = operators.read(timeline.read(tmp_path), step)
        assert read is not None
        assert read.names.set_index("name").loc["aten::mm", "count"] == 1


def test_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(EnginescopeError, match=r"gone\.json cannot be read"):
        list(trace.events(tmp_path / "gone.json", 0))
