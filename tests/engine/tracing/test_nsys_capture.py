"""Real captures: nsys over the real engine gives the budgets of our own event files, and a stopped one is readable."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from probes.doctor import profilers
from probes.doctor.surroundings import here
from tests.engine.recording import LIMIT_S, ROOT, Trace
from tracing import timeline
from tracing.breakdown.requests import budget
from tracing.nsys import file, ranges
from tracing.nsys.reportreview import review_report
from tracing.timeline import requests
from tracing.timeline.index import Index
from tracing.timeline.spans import Timeline

AGREE = 0.02
pytestmark = [
    pytest.mark.nsys,
    pytest.mark.slow(10),
    pytest.mark.skipif(shutil.which("nsys") is None, reason="no nsys here: apt-get install nsight-systems"),
]


def recorder(folder: Path, *command: str) -> list[str]:
    return [sys.executable, "-m", "tracing.record", "--nsys", "--out", str(folder), "--", sys.executable, *command]


@pytest.fixture
def captured(streams: Trace) -> Path:
    """The folder of the streams, with what Nsight Systems captured of them."""
    assert streams.completed.returncode == 0, streams.completed.stderr[-3000:]
    assert {path.name for path in streams.folder.glob("nsys.*")} == {"nsys.nsys-rep", "nsys.sqlite"}
    return streams.folder


def budgets(read: Timeline) -> tuple[list[requests.Flow], dict[str, dict[str, int]]]:
    index = Index(read)
    flows = requests.flows(index)
    whole = budget.budgets(index, [flow for flow in flows if flow.is_whole])
    return flows, whole.to_dict("index")


def apart(ours: dict[str, int], theirs: dict[str, int]) -> float:
    """The share of a latency that two budgets put down to different parts."""
    moved = sum(abs(ours.get(part, 0) - theirs.get(part, 0)) for part in {*ours, *theirs})
    return moved / 2 / sum(ours.values())


@pytest.mark.engine
def test_budgets_from_nsys_and_from_our_own_events_agree(captured: Path) -> None:
    flows, ours = budgets(timeline.read(captured))
    captured_flows, theirs = budgets(ranges.timeline(file.read(captured / "nsys.nsys-rep")))
    assert [(flow.request, flow.state, flow.steps.tolist()) for flow in captured_flows] == [
        (flow.request, flow.state, flow.steps.tolist()) for flow in flows
    ]
    assert len(ours) == 10
    assert np.median([apart(ours[name], theirs[name]) for name in ours]) < AGREE
    latencies = {flow.request: flow.latency_ns for flow in flows}
    assert all(
        abs(flow.latency_ns / latencies[flow.request] - 1) < AGREE for flow in captured_flows if flow.request in ours
    )
    parts = {part for each in ours.values() for part in each}
    summed = [{part: sum(each.get(part, 0) for each in all_.values()) for part in parts} for all_ in (ours, theirs)]
    assert apart(*summed) < AGREE


@pytest.mark.engine
def test_the_lists_and_the_clock_of_a_real_capture(captured: Path) -> None:
    ours, report = timeline.read(captured), file.read(captured / "nsys.sqlite")
    theirs = ranges.timeline(report)
    for name, keys in (("steps", ["step"]), ("messages", ["key"]), ("batches", ["step", "request"])):
        left, right = (getattr(read, name).astype({"pid": np.int64}).sort_values(keys) for read in (ours, theirs))
        rows = [frame.astype(object).to_numpy().tolist() for frame in (left, right)]
        assert rows[0] == rows[1], name
    _, off_by_ns = ranges.clock(report)
    assert off_by_ns is not None and off_by_ns < 1_000_000
    starts = [read.spans[read.spans["site"] == "scheduler.schedule"]["start_ns"].to_numpy() for read in (ours, theirs)]
    assert np.abs(np.median(starts[0] - starts[1])) < 1_000_000


@pytest.mark.engine
def test_vllm_scopes_are_in_it_and_nothing_is_missing(captured: Path) -> None:
    review = review_report(captured / "nsys.sqlite").findings.review
    assert not review.problems
    assert "vLLM scope" in {str(stage) for stage in ranges.timeline(file.read(captured / "nsys.sqlite")).spans["stage"]}
    assert review.requests.states == {"finished": 9, "aborted": 1, "refused": 1}


LOOP = """
import nvtx, time
print("begins", flush=True)
for number in range(2000):
    with nvtx.annotate("turn"):
        time.sleep(0.01)
"""


def test_an_interrupted_capture_is_readable(tmp_path: Path) -> None:
    heard = profilers.nvtx(here())
    if heard.status != "ok":
        pytest.skip(f"nvtx {heard.detail}; {heard.remedy}")
    folder = tmp_path / "trace"
    running = subprocess.Popen(
        recorder(folder, "-c", LOOP), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert running.stdout and running.stdout.readline() == b"begins\n"  # nsys has begun too: a slow machine may be late
    time.sleep(2)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=LIMIT_S)
    assert running.returncode != 0, out
    report = file.read(folder / "nsys.sqlite")
    turns = report.ranges[report.ranges["text"] == "turn"]
    assert 10 < len(turns) < 2000 and report.version, err
    assert '"state": "ended"' in (folder / "trace.json").read_text()
