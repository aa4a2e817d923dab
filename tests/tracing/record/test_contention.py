"""Time in the run queue: sampled from a real thread whose core is shared, and read as differences."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from probes.columns import markdown
from probes.machine import fingerprint
from tests.shells import until
from tests.tracing.tracerecords import recorded
from tests.tracing.traces import TraceWriter, process_file
from tracing import timeline
from tracing.breakdown.findings import findings
from tracing.breakdown.gaps import NOTHING
from tracing.breakdown.review import Review
from tracing.events.contention import COLUMNS, FILE, STOPPED, THREAD, THROTTLED, ContentionSample
from tracing.page.sections import machine_warnings
from tracing.record import contention as sampling
from tracing.record.contention import RollingSamples, sampled_contention
from tracing.timeline import contention
from tracing.timeline.contention import Contention
from tracing.timeline.steps.workers import core_of

MS = 1_000_000
BUSY = "print(flush=True)\nwhile True: pass"  # its line says that it runs
ROOT = Path(__file__).resolve().parents[3]


def test_the_last_while_is_held_in_memory_and_a_stopped_process_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "ROLLING_NS", 1_000_000_000)
    child = subprocess.Popen(["sleep", "60"])
    try:
        process_file(tmp_path, child.pid, threads={child.pid: "MainThread"})
        samples = RollingSamples(tmp_path)
        with samples.running():
            time.sleep(0.3)
            child.send_signal(signal.SIGSTOP)
            begun = time.monotonic_ns()
            time.sleep(1.2)
            child.send_signal(signal.SIGCONT)
            time.sleep(0.3)
    finally:
        child.kill()
        child.wait()
    samples.write(tmp_path)
    assert markdown(ContentionSample) in (tmp_path / "columns.md").read_text()
    read, end = contention.read(tmp_path), np.array([time.monotonic_ns()])
    assert read.moments[0] > begun - 400_000_000  # older ones are gone
    assert 0.5e9 < read.between(STOPPED, read.moments[:1], end, child.pid)[0] < 2e9


def test_between_two_samples_the_loss_is_even(tmp_path: Path) -> None:
    rows = ["time_ns,source,pid,thread,total_ns", "100,run queue,7,8,50", "200,run queue,7,8,90", "300,steal,0,0,5"]
    (tmp_path / FILE).write_text("\n".join(rows) + "\n")
    samples = contention.read(tmp_path)
    start, end = np.array([100, 150, 200]), np.array([200, 200, 300])
    assert samples.between(THREAD, start, end, 7, 8).tolist() == [40, 20, 0]  # no row at 300: it did not grow
    assert samples.between(THROTTLED, start, end).tolist() == [0, 0, 0]


def test_where_the_quotas_total_falls_another_group_is_read(tmp_path: Path) -> None:
    rows = [",".join(COLUMNS), "100,throttled,0,0,900", "200,throttled,0,0,5", "300,throttled,0,0,25"]
    (tmp_path / FILE).write_text("\n".join(rows) + "\n")
    start = np.array([100, 200])
    assert contention.read(tmp_path).between(THROTTLED, start, start + 100).tolist() == [0, 20]


def test_a_stay_in_the_run_queue_is_counted_at_its_end_and_lies_before(tmp_path: Path) -> None:
    """The kernel adds a stay when the thread gets a core: 130 of the 150 cannot have been within the last 100."""
    totals = [(100, 50), (200, 50), (300, 80), (400, 230)]
    rows = [",".join(COLUMNS), *(f"{moment},run queue,7,8,{total}" for moment, total in totals)]
    (tmp_path / FILE).write_text("\n".join(rows) + "\n")
    start = np.array([100, 200, 300])
    assert contention.read(tmp_path).between(THREAD, start, start + 100, 7, 8).tolist() == [0, 80, 100]


def test_a_line_that_was_cut_is_left_out(tmp_path: Path) -> None:
    rows = ["time_ns,source,pid,thread,total_ns", "100,run queue,7,8,50", "200,run queue,7,8,90", "300,run queue,7"]
    (tmp_path / FILE).write_text("\n".join(rows))
    assert contention.read(tmp_path).between(THREAD, np.array([100]), np.array([400]), 7, 8).tolist() == [40]


def test_a_folder_without_samples_knows_nothing(tmp_path: Path) -> None:
    assert not contention.read(tmp_path).is_known
    (tmp_path / FILE).touch()  # the disk was full, or the recorder was killed before its first sample
    assert not contention.read(tmp_path).is_known


def scheduled(pid: int) -> tuple[int, int]:
    """How long the kernel says that a process's main thread has run and has stood in the run queue, in nanoseconds."""
    ran, queued, _ = Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()
    return int(ran), int(queued)


def test_a_neighbour_on_the_same_core_is_seen(tmp_path: Path) -> None:
    """Of four busy processes on one core each stands in the run queue three times as long as it runs, and longer where
    others have that core too. One is stopped at the end, so that the kernel's total no longer grows: it is the last
    sample's."""
    core = min(os.sched_getaffinity(0))
    on_core = ["taskset", "-c", str(core), sys.executable, "-c", BUSY]
    processes = [subprocess.Popen(on_core, stdout=subprocess.PIPE) for _ in range(4)]
    pid = processes[0].pid
    process_file(tmp_path, pid, threads={pid: "MainThread"})
    try:
        assert [process.stdout and process.stdout.readline() for process in processes] == [b"\n"] * 4
        ran_before, queued_before = scheduled(pid)
        with sampled_contention(tmp_path):
            time.sleep(1.2)
            os.kill(pid, signal.SIGSTOP)
            os.waitpid(pid, os.WUNTRACED)
            stopped_ns = time.monotonic_ns()
            until(lambda: any(moment > stopped_ns for moment in contention.read(tmp_path).moments))
        ran, queued = scheduled(pid)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    _, totals = contention.read(tmp_path).series[THREAD, pid, pid]
    assert queued_before <= totals[0] < totals[-1] == queued
    assert totals[-1] - queued_before > ran - ran_before  # by no length of time: that is the load's


def test_samples_are_kept_though_nothing_can_explain_them(tmp_path: Path) -> None:
    (tmp_path / "columns.md").mkdir()
    process_file(tmp_path, os.getpid(), threads={threading.get_native_id(): "MainThread"})
    held = RollingSamples(tmp_path)
    for sampler in (sampled_contention(tmp_path), held.running()):
        with sampler:
            time.sleep(0.3)
    assert contention.read(tmp_path).is_known
    (tmp_path / FILE).unlink()
    held.write(tmp_path)
    assert contention.read(tmp_path).is_known


def test_the_recorders_own_thread_is_not_sampled(tmp_path: Path) -> None:
    pid, thread = os.getpid(), threading.get_native_id()
    process_file(tmp_path, pid, threads={thread: "enginescope"})
    with sampled_contention(tmp_path):
        time.sleep(0.3)
    assert (THREAD, pid, thread) not in contention.read(tmp_path).series


def slow_step(folder: Path, rows: list[str]) -> Review:
    """Eleven steps of 1 ms, the seventh of 21 ms, in which the core's thread stood in the run queue for 18 ms."""
    core = TraceWriter(folder, 11, ["core"], parent=10)
    for step in range(11):
        start = step * 1_000_000 + 20_000_000 * (step > 6)
        end = start + 900_000 + 20_000_000 * (step == 6)
        core.counts(step, {"decode_requests": 2, "decode_tokens": 2})
        core.span("scheduler.schedule", start, start + 100_000, step=step)
        core.span("scheduler.update", end - 100_000, end, step=step)
    core.close()
    samples = [(0, 500), (6_000_000, 500), (27_000_000, 18_000_500), (31_000_000, 18_000_500)]
    rows = rows + [f"{moment},run queue,11,1,{total}" for moment, total in samples]
    (folder / FILE).write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    return findings(folder).review


def test_a_slow_step_in_the_run_queue_says_so(tmp_path: Path) -> None:
    review = slow_step(tmp_path, [])
    assert review.slow_steps[0].step == 6
    assert review.slow_steps[0].reason.startswith("the machine was busy: a thread of the engine was in the run queue")
    assert review.starvation is not None and review.starvation.threads[0].queued_ns == 18_000_000
    assert review.problems == ()
    assert "the thread of the core (pid 11) was in the run queue for 58% of the time" in machine_warnings(review)[0]


def test_a_step_that_the_quota_made_slow_says_so(tmp_path: Path) -> None:
    """The kernel counts the time in which the group was stopped for each core: here 32 ms on two within 21 ms."""
    totals = [(0, 7), (6_000_000, 7), (27_000_000, 32_000_007), (31_000_000, 32_000_007)]
    review = slow_step(tmp_path, [f"{moment},throttled,0,0,{total}" for moment, total in totals])
    assert review.slow_steps[0].reason.startswith("over the CPU quota: a thread of the engine was in the run queue")
    assert review.starvation is not None and review.starvation.throttled_share == 21_000_000 / 30_900_000
    assert machine_warnings(review) == [
        "the control group's CPU quota stopped threads for up to 68% of the time with traffic",
        "the thread of the core (pid 11) was in the run queue for 58% of the time with traffic: the quota, or other "
        "work was on its core",
    ]


def test_a_gap_that_the_machine_made_has_it_for_a_cause(tmp_path: Path) -> None:
    """Between two steps of 1 ms nothing is recorded for 20 ms: the worker stood in the run queue for 12, for 5 of these
    by the quota, and the hypervisor took 4 on each of the machine's 64 cores, of which the engine may use two."""
    core = TraceWriter(tmp_path, 11, ["core"], parent=10)
    worker = TraceWriter(tmp_path, 12, ["worker"], parent=11)
    for step, start in enumerate((0, 21 * MS)):
        core.counts(step, {"decode_requests": 1}).span("scheduler.schedule", start, start + MS // 2, step=step)
        worker.span("worker.execute", start + MS // 2, start + MS * 9 // 10, step=step)
        core.span("scheduler.update", start + MS * 9 // 10, start + MS, step=step)
    core.close()
    worker.close()
    recorded(tmp_path, machine=replace(fingerprint(), cores_logical=64, cores_usable=2))
    totals = {"run queue,12,1": 12, "throttled,0,0": 5, "steal,0,0": 4 * 64}
    rows = [f"{at * MS},{key},{total * MS}" for key, most in totals.items() for at, total in ((1, 0), (21, most))]
    (tmp_path / FILE).write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    review = findings(tmp_path).review
    [decode] = review.steps
    idle = {"run queue (estimate)": 7, "CPU quota (estimate)": 5, "steal (estimate)": 4, NOTHING: 4, "schedule": 0.5}
    assert decode.core_while_idle == {name: pytest.approx(ms / 21) for name, ms in idle.items()}  # the five largest
    assert review.starvation is not None and review.starvation.steal_share == pytest.approx(4 / 22)


# What the kernel writes for a group with a quota that was used up, in both versions of control groups.
VERSION_2 = """usage_usec 3041201
user_usec 2890117
system_usec 151084
nr_periods 31
nr_throttled 31
throttled_usec 3999901
nr_bursts 0
burst_usec 0
"""
VERSION_1 = "nr_periods 31\nnr_throttled 31\nthrottled_time 3999901080\nnr_bursts 0\nburst_time 0\n"


@pytest.mark.parametrize("text, total_ns", [(VERSION_2, 3_999_901_000), (VERSION_1, 3_999_901_080)])
def test_the_quota_is_read_in_both_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, total_ns: int
) -> None:
    (tmp_path / "cpu.stat").write_text(text)
    monkeypatch.setattr(sampling, "_cgroup_files", lambda pid: [tmp_path / "none", tmp_path / "cpu.stat"])
    assert dict(sampling._machine_totals([os.getpid()]))[THROTTLED] == total_ns


def test_the_quota_is_that_of_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who attaches may be in another control group."""
    for pid in (4_000_001, 4_000_002):
        process_file(tmp_path, pid, threads={})
    (tmp_path / "4000001").write_text(VERSION_2)
    monkeypatch.setattr(sampling, "_cgroup_files", lambda pid: [tmp_path / str(pid)])
    totals = {source: total for _, source, _, _, total in sampling.Totals(tmp_path).changes()}
    assert totals[THROTTLED] == 3_999_901_000


GROUPS = Path("/sys/fs/cgroup/cpu")
OVER_QUOTA = """
import os, sys, time

with open(sys.argv[1] + "/cgroup.procs", "w") as group:
    group.write(str(os.getpid()))
print(flush=True)
begun, away = time.monotonic_ns(), 0
last, end = begun, begun + 1_500_000_000
if not (other := os.fork()):
    while time.monotonic_ns() < end + 500_000_000:
        pass
    os._exit(0)
while (now := time.monotonic_ns()) < end:
    away += now - last if now - last > 1_000_000 else 0
    last = now
os.waitpid(other, 0)  # meanwhile the kernel's total grows, and a sample comes after the end
print(begun, end, away, flush=True)
input()
"""


@pytest.fixture
def quota() -> Iterator[Path]:
    """A control group that may use a twentieth of one core, and comes before all others on it."""
    group = GROUPS / f"enginescope-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cpu.cfs_quota_us").write_text("5000")
        (group / "cpu.cfs_period_us").write_text("100000")
        (group / "cpu.shares").write_text("262144")
    except OSError:
        pytest.skip("no control group with a CPU quota can be made here")
    yield group
    group.rmdir()


def test_a_quota_that_is_used_up_is_seen(tmp_path: Path, quota: Path) -> None:
    """Two processes spin, of which one counts how long it did not run: for most of that the quota stopped them, though
    the kernel counts it on each of two cores. The samples are another process's, which no quota stops."""
    command = [sys.executable, "-c", OVER_QUOTA, str(quota)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as spinning:
        assert spinning.stdin and spinning.stdout and spinning.stdout.readline() == "\n"
        process_file(tmp_path, spinning.pid, threads={})
        with sampled_contention(tmp_path):
            begun, end, away = map(int, spinning.stdout.readline().split())
            until(lambda: any(moment > end for moment in contention.read(tmp_path).moments))
            spinning.stdin.write("\n")
    lost = contention.read(tmp_path).between(THROTTLED, np.array([begun]), np.array([end]))[0]
    assert 0.3 * away < lost
    assert THROTTLED not in dict(sampling._machine_totals([spinning.pid]))  # its total has ended; another's is not its


def test_a_thread_that_waits_in_the_run_queue_loses_nothing(tmp_path: Path) -> None:
    """The core spins for 80 of 100 ms, and stands in the queue for 90: 10 of these it lost at least."""
    core = TraceWriter(tmp_path, 11, ["core"]).span("executor.wait", 10, 90, step=0)
    core.span("scheduler.update", 90, 95, step=0).close()
    moments = np.array([0, 100, 200])
    samples = Contention(moments, {(THREAD, 11, 1): (moments, np.array([0, 90, 110]))})
    lost = samples.beyond_waits(timeline.read(tmp_path).spans, {})
    assert lost.between(THREAD, np.array([0, 100]), np.array([100, 200]), 11, 1).tolist() == [10, 20]


def test_a_worker_that_does_not_see_its_message_was_kept_from_running(tmp_path: Path) -> None:
    """It waits from 0 to 100, the message is sent at 20; the core waits for its answer from 25 to 130, sent at 120."""
    core = TraceWriter(tmp_path, 11, ["core"]).span("queue.put", 20, 22, step=0).span("executor.wait", 25, 130, step=0)
    core.close()
    worker = TraceWriter(tmp_path, 12, ["worker"], parent=11).span("queue.get", 0, 100).span("queue.put", 120, 121)
    worker.close()
    moments = np.array([0, 200])
    samples = Contention(moments, {(THREAD, pid, 1): (moments, np.array([0, 95])) for pid in (11, 12)})
    recorded = timeline.read(tmp_path)
    lost = samples.beyond_waits(recorded.spans, core_of(recorded))
    assert [int(lost.series[THREAD, pid, 1][1][-1]) for pid in (11, 12)] == [0, 75]
