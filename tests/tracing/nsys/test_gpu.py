"""GPU activity from generated reports with known answers: whose it is, when the GPU was idle, and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.console import console
from tests.tracing.nsys.nsysfiles import NsysWriter, as_captured
from tests.tracing.page.test_perfetto import check as check_perfetto
from tests.tracing.timeline.test_anatomy import STEP
from tests.tracing.timeline.test_anatomy import write as write_steps
from tracing import review, timeline
from tracing.breakdown import findings, gaps
from tracing.breakdown import review as reviewfile
from tracing.breakdown.kernels.families import ATTENTION, FAMILIES, GRAPH
from tracing.breakdown.otherwatchers import GapCause, GpuStage, GpuSummary
from tracing.events.contention import COLUMNS, FILE
from tracing.nsys import __main__ as nsyscommand
from tracing.nsys import file, gpu, ranges
from tracing.nsys.reportreview import review_report
from tracing.page.tables import devicewaits
from tracing.timeline.intervals import edges, union

CORE, WORKER = 11, 12
US = 1000


def report(folder: Path, later: bool = False, clock_ns: int = 0) -> Path:
    """Four steps of a core and a worker; in each a copy launched by `prepare` and a kernel by `forward`."""
    write_steps(folder)
    writer = as_captured(timeline.read(folder), NsysWriter(folder / "nsys.sqlite", later), clock_ns)
    for step in range(4):
        at = step * STEP - clock_ns
        writer.launch(WORKER, 1, at + 220 * US, at + 222 * US, 2 * step)
        writer.activity("copy", WORKER, at + 225 * US, at + 240 * US, 2 * step, size=4096)
        writer.launch(WORKER, 1, at + 320 * US, at + 322 * US, 2 * step + 1)
        writer.activity("kernel", WORKER, at + 330 * US, at + 600 * US, 2 * step + 1, "gemm")
    # Another process that numbers its calls alike, before the first step: none of a step's work is its.
    writer.launch(99, 1, 1 - clock_ns, 2 - clock_ns, 0)
    return writer.close()


# Of each step of 1 ms the GPU is busy for 285 µs; the rest, by what the engine did, as `write_steps` has it.
CAUSES = {
    "wait: worker": 130,
    "execute": 110,
    "nothing recorded": 110,
    "update": 90,
    "forward": 80,
    "schedule": 70,
    "dispatch": 50,
    "allocate": 30,
    "prepare": 25,
    "serialize on the core's output thread": 20,
}


def gpu_of(path: Path) -> GpuSummary:
    """What the review of a report holds of its GPU."""
    summary = review_report(path).findings.review.gpu
    assert summary is not None
    return summary


def test_busy_idle_and_the_causes_of_gaps(tmp_path: Path) -> None:
    for later in (False, True):
        devices = gpu_of(report(tmp_path / str(later), later, clock_ns=700)).devices
        assert [(each.kind, each.window_ns // STEP) for each in devices] == [
            ("all", 3),
            ("prefill", 1),
            ("mixed", 1),
            ("first decode", 1),
        ]
        for each in devices:
            steps = each.window_ns // STEP
            assert (each.busy_ns, each.idle_ns) == (285 * US * steps, 715 * US * steps)
            assert {cause.cause: cause.ns for cause in each.causes} == {
                name: us * US * steps for name, us in CAUSES.items()
            }


def test_of_a_gap_in_which_nothing_was_recorded_the_run_queue_has_its_part(tmp_path: Path) -> None:
    """The worker's thread stood there for half of all time, evenly; what was recorded explains the rest as before."""
    path = report(tmp_path)
    rows = [",".join(COLUMNS), "0,run queue,12,1,0", f"{4 * STEP},run queue,12,1,{2 * STEP}"]
    (tmp_path / FILE).write_text("\n".join(rows) + "\n")
    half = CAUSES["nothing recorded"] * US * 3 // 2
    causes = {cause.cause: cause.ns for cause in gpu_of(path).devices[0].causes}
    assert causes["run queue (estimate)"] == causes["nothing recorded"] == half
    assert causes["schedule"] == CAUSES["schedule"] * US * 3


def test_the_sentence(tmp_path: Path) -> None:
    device = gpu_of(report(tmp_path)).devices[1]
    assert devicewaits.sentence(device).startswith("GPU 0 waited 71.5% of prefill: 13.0% wait: worker, 11.0% execute, ")
    few = replace(device, gap_ns=200_000, causes=(GapCause("schedule", 150_000), GapCause("send", 100)))
    assert devicewaits.sentence(few) == "GPU 0 waited 20.0% of prefill: 15.0% schedule, 5.0% other"


def test_kernels_and_copies_by_stage_and_step(tmp_path: Path) -> None:
    stages = gpu_of(report(tmp_path)).stages
    kernel = {"kernels": 1, "kernel_ns": 270 * US, "copies": 0, "copy_ns": 0, "bytes": 0}
    copy = {"kernels": 0, "kernel_ns": 0, "copies": 1, "copy_ns": 15 * US, "bytes": 4096}
    assert stages == tuple(
        GpuStage(kind, stage, 1, **work)
        for kind in ("prefill", "mixed", "first decode", "decode")
        for stage, work in (("forward", kernel), ("prepare", copy))
    )


def test_kernels_by_family_and_the_pace_of_steps(tmp_path: Path) -> None:
    """Each step's kernel and copy began with their launches, on a device that had been idle."""
    kernels = review_report(report(tmp_path, clock_ns=700)).as_dict()["kernels"]
    assert isinstance(kernels, dict)
    assert [(row["kind"], row["family"], row["kernels"], row["ns"]) for row in kernels["families"]] == [
        (kind, *row)
        for kind in ("prefill", "mixed", "first decode", "decode")
        for row in (("GEMM", 1, 270 * US), ("copy", 1, 15 * US))
    ]
    paces = [(row["steps"], row["kernel_bound"], row["communication_ns"]) for row in kernels["kinds"]]
    assert paces == [(1, 1, 0)] * 4  # 105 µs from the copy's start to the kernel's, and 270 µs of the kernel
    shares = [row["launch_share"] for row in kernels["kinds"]]
    assert shares == [pytest.approx(105 / 375)] * 4


def test_without_ranges_of_ours_the_steps_are_those_that_vllm_names(tmp_path: Path) -> None:
    """What is launched after a range's end, sampling as a rule, is of its step; another thread's work is of none."""
    writer = NsysWriter(tmp_path / "r.sqlite")
    detailed = "execute_67_context_1(sq64sk64sqsq4096sqsk4096)_generation_3(sq3sk9sqsq3sqsk9)"
    names = ("execute_context_1(64)_generation_0(0)", "execute_context_0(0)_generation_3(3)", detailed)
    for number, name in enumerate(names):
        at = 100 * US * (number + 1)
        writer.range(9, 9, at, at + 20 * US, name, domain="")
        for call, offset in enumerate((5 * US, 50 * US)):
            correlation = 2 * number + call
            writer.launch(9, 9, at + offset, at + offset + 1, correlation)
            writer.activity("kernel", 9, at + offset + US, at + offset + 11 * US, correlation, "nvjet")
    writer.launch(9, 8, 150 * US, 151 * US, 90).activity("kernel", 9, 170 * US, 171 * US, 90, "nvjet")
    kernels = review_report(writer.close()).as_dict()["kernels"]
    assert isinstance(kernels, dict)
    assert [(row["kind"], row["kernels"], row["ns"]) for row in kernels["families"]] == [
        ("prefill", 2, 20 * US),
        ("mixed", 2, 20 * US),
        ("decode", 2, 20 * US),
        ("no step", 1, US),
    ]
    assert [(row["kind"], row["steps"]) for row in kernels["kinds"]][:3] == [
        ("prefill", 1),
        ("mixed", 1),
        ("decode", 1),
    ]


def test_the_whole_name_tells_the_family(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """nsys's short name of every CUTLASS kernel is `device_kernel`."""
    before, after = tmp_path / "before.sqlite", tmp_path / "after.sqlite"
    for path, length in ((before, 10), (after, 30)):
        writer = NsysWriter(path).launch(9, 9, 0, 1, 0).activity("kernel", 9, 0, length * US, name="device_kernel")
        writer.whole_name("device_kernel", "void cutlass::device_kernel<flash::FlashAttnFwdSm90>(Params)")
        writer.activity("graph", 9, 50 * US, 60 * US).close()
    work = review_report(before).work
    assert work is not None and [FAMILIES[code] for code in work["family"]] == [ATTENTION, GRAPH]
    nsyscommand.compare(review_report(before), review_report(after), console())
    said = capsys.readouterr().out
    assert said.startswith("All kernels take 40.0 µs, before 20.0 µs: +20.0 µs (interval not known); no stage")


def test_the_review_and_the_picture_of_a_folder_have_the_gpu(tmp_path: Path) -> None:
    """nsys counts from its own beginning: its marks say by how much that is off."""
    alone = gpu_of(report(tmp_path, clock_ns=700))
    assert review.review(tmp_path, perfetto=tmp_path / "x.pftrace") == 0
    reviewed = reviewfile.read(tmp_path / "review.json")
    assert reviewed.gpu == alone and reviewed.problems == ()
    page = (tmp_path / "review.html").read_text()
    assert "GPU 0 waited 71.5% of prefill: 13.0% wait: worker" in page
    assert reviewed.kernels == review_report(tmp_path / "nsys.sqlite").findings.review.kernels is not None
    assert "What sets the pace of a step on its device" in page
    picture = check_perfetto(tmp_path / "x.pftrace")
    assert [track for track in picture["tracks"] if track.startswith("nsys ±")] == ["nsys ±0.0 µs, GPU 0, stream 7"]
    assert (picture["names"].count("gemm"), picture["names"].count("copy")) == (4, 4)


def test_a_report_that_cannot_be_placed_is_a_problem_of_the_review(tmp_path: Path) -> None:
    write_steps(tmp_path)
    writer = NsysWriter(tmp_path / "nsys.sqlite").range(9, 9, 0, 1, "my loop", domain="")
    path = writer.launch(9, 9, 0, 1, 0).activity("kernel", 9, 0, 10 * US).close()
    review = findings.findings(tmp_path).review
    assert review.gpu is None and any("its clock is not known" in line for line in review.problems)
    path.write_bytes(b"no database")
    review = findings.findings(tmp_path).review
    assert review.gpu is None and any("cannot be read as SQLite" in line for line in review.problems)


def test_without_ranges_of_ours_the_scope_is_the_stage(tmp_path: Path) -> None:
    writer = NsysWriter(tmp_path / "r.sqlite").range(9, 9, 0, 100 * US, "my loop", domain="")
    writer.launch(9, 9, 10, 20, 1).activity("graph", 9, 30, 10 * US, 1)
    writer.launch(9, 8, 10, 20, 2).activity("set", 9, 50 * US, 60 * US, 2, size=8)
    writer.activity("kernel", 9, 90 * US, 100 * US, 3, "orphan")
    summary = gpu_of(writer.close())
    assert {row.stage: (row.kernels, row.copies) for row in summary.stages} == {
        "my loop": (1, 0),
        gpu.NO_RANGE: (1, 1),
    }
    assert [(each.kind, each.gaps, each.gap_ns) for each in summary.devices] == [("all", 2, 70 * US)]


def test_work_outside_of_steps_is_the_largest_and_one_row_of_the_others(tmp_path: Path) -> None:
    writer = NsysWriter(tmp_path / "r.sqlite")
    for number in range(50):
        at = 1000 * number
        writer.range(9, 9, at, at + 100, f"part {chr(65 + number)}", domain="").launch(9, 9, at + 1, at + 2, number)
        writer.activity("kernel", 9, at + 200, at + 300 + number, number)
    rows = gpu_of(writer.close()).stages
    assert len(rows) == gpu.MOST_ROWS + 1 and rows[0].stage == "part r" and rows[0].kernel_ns == 149
    assert (rows[-1].stage, rows[-1].kernels) == ("… 20 others", 20)
    assert sum(row.kernel_ns for row in rows) == sum(100 + number for number in range(50))


def test_two_devices_have_gaps_of_their_own(tmp_path: Path) -> None:
    writer = NsysWriter(tmp_path / "r.sqlite").range(9, 9, 0, 1, "model.forward", 0)
    writer.activity("kernel", 9, 0, 10 * US, gpu=0).activity("kernel", 9, 40 * US, 50 * US, gpu=0)
    writer.activity("kernel", 9, 0, 50 * US, gpu=1).launch(9, 9, 0, 1, 0)
    devices = gpu_of(writer.close()).devices
    assert [(each.device, each.busy_ns, each.gap_ns) for each in devices] == [
        (0, 20 * US, 30 * US),
        (1, 50 * US, 0),
    ]


def test_the_innermost_range_counts_and_a_scope_only_alone(tmp_path: Path) -> None:
    writer = NsysWriter(tmp_path / "r.sqlite")
    writer.range(9, 1, 10, 90, "worker.execute", 0).range(9, 1, 20, 50, "runner.forward", 0)
    writer.range(9, 1, 30, 40, "inside", domain="").range(9, 1, 5, 8, "before", domain="")
    spans = ranges.timeline(file.read(writer.close())).spans
    rows = gpu.innermost_at(spans, 9, 1, np.array([1, 6, 9, 15, 35, 45, 60, 90]))
    sites = [spans["site"].iat[row] if row >= 0 else None for row in rows]
    assert sites == [None, "scope", None, "worker.execute", *["runner.forward"] * 2, "worker.execute", None]


# --- properties: everything adds up, and is what counting by hand gives ---

UNIT = 10 * US  # gaps of two units are short, of three they count
SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12)), max_size=12)


def pieces(spans: list[tuple[int, int]]) -> pd.DataFrame:
    rows = [(start * UNIT, (start + length) * UNIT) for start, length in spans]
    return pd.DataFrame(rows, columns=["start_ns", "end_ns"], dtype=np.int64)


def covers(spans: list[tuple[int, int]], unit: int) -> list[int]:
    """The starts of the spans over a unit."""
    return [start for start, length in spans if start <= unit < start + length]


def by_hand(window: list[tuple[int, int]], busy: list[tuple[int, int]], causes: list[list[tuple[int, int]]]) -> dict:
    """Causes of gaps in units, unit by unit; the later in `causes`, the higher its rank."""
    idle = [unit for unit in range(60) if covers(window, unit) and not covers(busy, unit)]
    runs: list[list[int]] = []
    for unit in idle:
        if runs and runs[-1][-1] == unit - 1:
            runs[-1].append(unit)
        else:
            runs.append([unit])
    sums: dict[str, int] = {}
    for unit in [unit for run in runs if len(run) > 2 for unit in run]:
        over = [place for place, spans in enumerate(causes) if covers(spans, unit)]
        name = f"cause {over[-1]}" if over else gaps.NOTHING
        sums[name] = sums.get(name, 0) + UNIT
    return sums


@given(window=SPANS, busy=SPANS, causes=st.lists(SPANS, max_size=4))
def test_everything_adds_up(
    window: list[tuple[int, int]], busy: list[tuple[int, int]], causes: list[list[tuple[int, int]]]
) -> None:
    why = gaps.Explained([gaps.Cause(f"cause {rank}", rank, pieces(spans)) for rank, spans in enumerate(causes)])
    device = gaps.waiting(0, "all", union(*edges(pieces(window))), union(*edges(pieces(busy))), why)
    assert device.busy_ns + device.idle_ns == device.window_ns
    assert device.gap_ns + device.short_gap_ns == device.idle_ns
    assert sum(cause.ns for cause in device.causes) == device.gap_ns
    assert {cause.cause: cause.ns for cause in device.causes} == by_hand(window, busy, causes)
