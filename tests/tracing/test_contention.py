"""Time in the run queue: sampled from a real thread whose core is shared, and read as differences."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.breakdown.findings import findings
from tracing.events.contention import COLUMNS, FILE, THREAD, THROTTLED
from tracing.page.sections import machine_warnings
from tracing.record.contention import sampled_contention
from tracing.timeline import contention
from tracing.timeline.contention import Contention

BUSY = "while True: pass"


def test_between_two_samples_the_loss_is_even(tmp_path: Path) -> None:
    rows = ["time_ns,source,pid,thread,total_ns", "100,run queue,7,8,50", "200,run queue,7,8,90", "300,steal,0,0,5"]
    (tmp_path / FILE).write_text("\n".join(rows) + "\n")
    samples = contention.read(tmp_path)
    start, end = np.array([100, 150, 200]), np.array([200, 200, 300])
    assert samples.between(THREAD, start, end, 7, 8).tolist() == [40, 20, 0]  # no row at 300: it did not grow
    assert samples.between(THROTTLED, start, end).tolist() == [0, 0, 0]


def test_a_line_that_was_cut_is_left_out(tmp_path: Path) -> None:
    rows = ["time_ns,source,pid,thread,total_ns", "100,run queue,7,8,50", "200,run queue,7,8,90", "300,run queue,7"]
    (tmp_path / FILE).write_text("\n".join(rows))
    assert contention.read(tmp_path).between(THREAD, np.array([100]), np.array([400]), 7, 8).tolist() == [40]


def test_a_folder_without_samples_knows_nothing(tmp_path: Path) -> None:
    assert not contention.read(tmp_path).is_known


def test_a_neighbour_on_the_same_core_is_seen(tmp_path: Path) -> None:
    """Four busy processes on one core: each stands in the run queue for three quarters of the time or more."""
    core = min(os.sched_getaffinity(0))
    on_core = ["taskset", "-c", str(core), sys.executable, "-c", BUSY]
    processes = [subprocess.Popen(on_core) for _ in range(4)]
    pid = processes[0].pid
    (tmp_path / f"process-{pid}.json").write_text(json.dumps({"threads": {str(pid): "MainThread"}}))
    try:
        with sampled_contention(tmp_path):
            time.sleep(1.5)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    samples = contention.read(tmp_path)
    moments, _ = samples.series[(THREAD, pid, pid)]
    first, last = moments[:1], moments[-1:]
    assert 0.5 < samples.between(THREAD, first, last, pid, pid)[0] / (last - first)[0] < 1.05


def test_the_recorders_own_thread_is_not_sampled(tmp_path: Path) -> None:
    pid, thread = os.getpid(), threading.get_native_id()
    names = {str(thread): "enginescope"}
    (tmp_path / f"process-{pid}.json").write_text(json.dumps({"threads": names}))
    with sampled_contention(tmp_path):
        time.sleep(0.3)
    assert (THREAD, pid, thread) not in contention.read(tmp_path).series


def test_a_slow_step_in_the_run_queue_says_so(tmp_path: Path) -> None:
    """Eleven steps of 1 ms, the seventh of 21 ms, in which the core's thread stood in the run queue for 18 ms."""
    core = TraceWriter(tmp_path, 11, ["core"], parent=10)
    for step in range(11):
        start = step * 1_000_000 + 20_000_000 * (step > 6)
        end = start + 900_000 + 20_000_000 * (step == 6)
        core.counts(step, {"decode_requests": 2, "decode_tokens": 2})
        core.span("scheduler.schedule", start, start + 100_000, step=step)
        core.span("scheduler.update", end - 100_000, end, step=step)
    core.close()
    samples = [(0, 500), (6_000_000, 500), (27_000_000, 18_000_500), (31_000_000, 18_000_500)]
    rows = [f"{moment},run queue,11,1,{total}" for moment, total in samples]
    (tmp_path / FILE).write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    review = findings(tmp_path).review
    assert review.slow_steps[0].step == 6
    assert review.slow_steps[0].reason.startswith("the machine was busy: a thread of the engine stood in the run queue")
    assert review.starvation is not None and review.starvation.threads[0].queued_ns == 18_000_000
    assert review.problems == ()
    assert "the thread of the core (pid 11) stood in the run queue for 58% of the time" in machine_warnings(review)[0]


def test_a_thread_that_waits_in_the_run_queue_loses_nothing(tmp_path: Path) -> None:
    """The core spins for 80 of 100 ms, and stands in the queue for 90: 10 of these it lost at least."""
    core = TraceWriter(tmp_path, 11, ["core"]).span("executor.wait", 10, 90, step=0)
    core.span("scheduler.update", 90, 95, step=0).close()
    moments = np.array([0, 100, 200])
    samples = Contention(moments, {(THREAD, 11, 1): (moments, np.array([0, 90, 110]))})
    lost = samples.beyond_waits(timeline.read(tmp_path).spans)
    assert lost.between(THREAD, np.array([0, 100]), np.array([100, 200]), 11, 1).tolist() == [10, 20]
