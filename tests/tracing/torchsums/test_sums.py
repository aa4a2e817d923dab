"""Torch traces on the timeline: sums with known answers, by stage and by device."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracing.page.test_perfetto import check
from tests.tracing.torchsums import chrometraces
from tests.tracing.torchsums.chrometraces import AHEAD_NS, event
from tests.tracing.torchsums.torchfolders import KERNELS, OPERATORS, sums
from tracing import review, timeline
from tracing.breakdown import findings
from tracing.breakdown import review as reviewfile
from tracing.breakdown.otherwatchers import LargestOperator, OperatorStage
from tracing.page import perfetto
from tracing.timeline import innermost
from tracing.torchsums import operators, reader, trace
from tracing.torchsums.trace import Event


def test_operators_count_with_their_own_time_where_they_began(folder: Path) -> None:
    chrometraces.write(folder / "torch" / "rank0.json", OPERATORS)
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
    chrometraces.write(folder / "torch" / "rank0.json.gz", KERNELS)
    assert sums(folder) == {
        ("kernel", "early", "forward"): (1, 30),
        ("kernel", "gemm<float>", "forward"): (2, 900),
        ("copy", "Memcpy DtoH", "execute"): (1, 5),
        ("kernel", "orphan", innermost.OUTSIDE): (1, 1),
    }


@pytest.mark.parametrize("name", ["rank0.json", "rank0.json.gz"])
def test_the_base_time_may_stand_after_the_events(folder: Path, name: str) -> None:
    chrometraces.write(folder / "torch" / name, [*OPERATORS[:3], *KERNELS[1:3]], base_last=True)
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
    chrometraces.write(folder / "torch" / "rank0.json", events)
    assert sums(folder) == {("kernel", "gemm", "forward"): (1, 400), ("copy", "Memcpy DtoH", "execute"): (1, 5)}


def test_a_device_named_by_a_text(folder: Path) -> None:
    kernel = event("kernel", "gemm", 2000, 2400, 0, 7, correlation=3) | {"pid": "GPU 1", "tid": "stream 20"}
    path = chrometraces.write(folder / "torch" / "rank0.json", [kernel])
    [read] = trace.events(path, AHEAD_NS)
    assert (read.pid, read.thread, read.start_ns) == (1, 20, 2000)


def test_ranks_add_up_and_their_launches_stay_apart(folder: Path) -> None:
    for rank in (0, 1):
        launch = event("cuda_runtime", "cudaLaunchKernel", 1300 + 800 * rank, 1310 + 800 * rank, correlation=3)
        kernel = event("kernel", "gemm", 1900, 1930, rank, 7, correlation=3)
        chrometraces.write(folder / "torch" / f"rank{rank}.json", [*OPERATORS[:1], launch, kernel])
    assert sums(folder) == {
        ("operator", "aten::slice", "execute"): (2, 100),
        ("kernel", "gemm", "forward"): (1, 30),
        ("kernel", "gemm", innermost.OUTSIDE): (1, 30),
    }


def test_the_review_says_what_of_a_stage_was_operators(folder: Path) -> None:
    chrometraces.write(folder / "torch" / "rank0.json", OPERATORS + KERNELS)
    summary = findings.findings(folder).review.operators
    assert summary is not None and (summary.steps, summary.clock_uncertainty_ns) == (1, 40)
    by_stage = {row.stage: row for row in summary.stages}
    assert by_stage["forward"] == OperatorStage("forward", 600, operator_ns=340, kernel_ns=930, copy_ns=0)
    assert by_stage["execute"].span_ns == 400 and by_stage["execute"].copy_ns == 5
    assert summary.rows[0] == LargestOperator("forward", "gemm<float>", "kernel", 2, 900, share=900 / 936)
    assert review.review(folder) == 0
    assert "gemm&lt;float&gt;" in (folder / "review.html").read_text()


def test_the_review_has_the_kernels_by_family(folder: Path) -> None:
    """No core is in this trace, so that its kernels are of no step."""
    chrometraces.write(folder / "torch" / "rank0.json", OPERATORS + KERNELS)
    assert review.review(folder) == 0
    kernels = reviewfile.read(folder / "review.json").kernels
    assert kernels is not None
    assert [(row.kind, row.family, row.kernels, row.ns) for row in kernels.families] == [
        ("no step", "GEMM", 2, 900),
        ("no step", "other", 2, 31),
        ("no step", "copy", 1, 5),
    ]
    assert ">GEMM</td>" in (folder / "review.html").read_text()


def test_a_folder_without_torch_traces_says_nothing_of_them(folder: Path) -> None:
    assert findings.findings(folder).review.operators is None


def test_operators_and_streams_are_tracks(folder: Path) -> None:
    chrometraces.write(folder / "torch" / "rank0.json", OPERATORS + KERNELS)
    perfetto.export(timeline.read(folder), [], timeline.read(folder).spans.iloc[:0], folder / "trace.pftrace")
    read = check(folder / "trace.pftrace")
    assert {"operators (1)", "device 0, stream 7: rank0.json", "device 0, stream 20: rank0.json"} <= set(read["tracks"])
    assert read["names"].count("aten::linear") == 2 and "cudaLaunchKernel" not in read["names"]


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
