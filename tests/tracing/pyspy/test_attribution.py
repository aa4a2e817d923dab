"""Samples put into roles and stages, against the spans of the same trace, and what is written of them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.tracing.page.test_perfetto import check, hops
from tests.tracing.pyspy.sampledfolders import sampled_folder
from tests.tracing.pyspy.stackframes import CORE, GET, MAIN, SITE, SPIN, STEP, WAIT, WAITING, WORKING
from tests.tracing.traces import TraceWriter
from tracing import review, timeline
from tracing.breakdown import findings
from tracing.page import perfetto
from tracing.pyspy import attribution, samples, stacks, tables
from tracing.pyspy.events import Frame


@pytest.fixture
def both(tmp_path: Path) -> Path:
    """A second of a core: half of each 40 ms it schedules, half it waits for its worker; spans and samples agree."""
    core = TraceWriter(tmp_path, 11, ["core", "core input"], threads={12: "MainThread"})
    for start in range(1_000_000_000, 2_000_000_000, 40_000_000):
        core.span("core.step", start - 5_000_000, start + 35_000_000, thread=12)
        core.span("scheduler.schedule", start - 5_000_000, start + 15_000_000, thread=12)
        core.span("executor.wait", start + 15_000_000, start + 35_000_000, thread=12)
    core.close()
    return sampled_folder(tmp_path, {CORE: [WORKING, WORKING, WAITING, WAITING] * 25})


def test_roles_states_and_stages(both: Path) -> None:
    spans = timeline.read(both)
    frame = attribution.attributed(samples.read(both), spans)
    assert Counter(zip(frame["role"], frame["stage"], frame["state"], strict=True)) == {
        ("core", "schedule", "working"): 50,
        ("core", "wait: worker", "spin on shared memory"): 50,
    }


def test_a_stage_of_no_time_at_all_is_left_out(both: Path) -> None:
    """Rounds that the clock cannot tell apart have no time between them."""
    spans, read = timeline.read(both), samples.read(both)
    frame = attribution.attributed(read, spans)
    assert {row.stage for row in tables.stages(read, frame, 3)} == {"schedule", "wait: worker"}
    frame.loc[frame["stage"] == "wait: worker", "weight_ns"] = 0
    [row] = tables.stages(read, frame, 3)
    assert (row.stage, row.share) == ("schedule", 1)
    frame["weight_ns"] = 0
    assert tables.stages(read, frame, 3) == () and tables.threads(frame)[0].working == 0


def test_a_thread_that_py_spy_lost_is_left_out_from_then_on(tmp_path: Path) -> None:
    """A program that looks at its arguments for 0.1 s, then replaces itself; its stack stands, and its spans go on."""
    script, before = ("main", "/home/user/start.py", 9), ("parse", "/home/user/start.py", 3)
    front = TraceWriter(tmp_path, 11, ["front end"], threads={12: "MainThread"})
    for start in range(1_500_000_000, 1_900_000_000, 10_000_000):
        front.span("output.process", start, start + 1_000_000, thread=12)
    front.close()
    sampled_folder(tmp_path, {(11, 12, "MainThread"): [(script, before)] * 10 + [(script,)] * 90})
    spans, read = timeline.read(tmp_path), samples.read(tmp_path)
    frame = attribution.attributed(read, spans)
    assert len(read.frame) == 100 and len(frame) == 10
    assert len(attribution.attributed(read, None)) == 100
    words = "thread 12 of process 11 was lost to py-spy while it ran"
    assert [line.startswith(words) for line in tables.head(read, frame, spans)].count(True) == 1


def test_a_shared_function_is_the_roles_own_site() -> None:
    decode = (Frame("MsgpackDecoder.decode", f"{SITE}vllm/v1/serial_utils.py", 1),)
    dequeue = (Frame("MessageQueue.dequeue", SPIN[1], 1),)
    for stack, role, name in (
        (decode, "front end", "client.receive"),
        (decode, "core input", "core.receive"),
        (dequeue, "worker", "queue.get"),
    ):
        site = attribution.site_of(stack, role)
        assert site is not None and site.name == name
    loaded = (Frame("Worker.load_model", f"{SITE}vllm/v1/worker/gpu_worker.py", 1),)
    assert attribution.site_of(loaded, "worker") is None, "that site wraps what this function loads"


def test_agreement_falls_when_the_samples_are_moved(both: Path) -> None:
    spans, read = timeline.read(both), samples.read(both)
    frame = attribution.attributed(read, spans)
    right = attribution.agreement(frame, spans, read.uncertainty_ns)
    assert (right.samples, right.inside, right.near) == (100, 100, 100)
    moved = attribution.agreement(frame, spans, read.uncertainty_ns, shift_ns=20_000_000)
    assert moved.inside < 10


def test_where_no_frame_tells_the_clock_does(tmp_path: Path) -> None:
    core = TraceWriter(tmp_path, 11, ["core"], threads={12: "MainThread"})
    core.span("scheduler.schedule", 1_000_000_000, 1_200_000_000, thread=12)
    core.span("kv.lookup", 1_100_000_000, 1_101_000_000, thread=12).close()  # shorter than the clock can tell
    read = samples.read(sampled_folder(tmp_path, {CORE: [(MAIN,), (MAIN, (*STEP[:2], 1))] * 20}))
    plain = attribution.attributed(read, None)
    attributed_rows = attribution.attributed(read, timeline.read(tmp_path))
    assert set(attributed_rows["stage"]) >= {"schedule"} and "prefix lookup" not in set(attributed_rows["stage"])
    assert 5 <= int((attributed_rows["stage"] == "schedule").sum()) - int((plain["stage"] == "schedule").sum()) <= 20


@pytest.mark.parametrize(("last_output_ns", "died"), [(4_900_000_000, True), (1_300_000_000, False)])
def test_a_core_that_died_is_reported_unless_nothing_was_left_to_do(
    tmp_path: Path, last_output_ns: int, died: bool
) -> None:
    """vLLM ends a core that has nothing to do by a signal, so that its recorder does not see the end."""
    TraceWriter(tmp_path, 11, ["core"]).span("core.step", 1, 2).close(stopped_ns=None)
    front = TraceWriter(tmp_path, 10, ["front end"])
    front.span("output.process", last_output_ns - 1, last_output_ns, thread=10).close()
    live = {"10": {"10": 5_000_000_000}, "11": {"12": 1_500_000_000}}
    threads = {CORE: [WORKING, WAITING] * 25, (10, 10, "MainThread"): [(MAIN, GET, WAIT)] * 400}
    read = samples.read(sampled_folder(tmp_path, threads, live=live))
    spans = timeline.read(tmp_path)
    warnings = list(tables.head(read, attribution.attributed(read, spans), spans))
    assert died == any(
        line.startswith("core 11 did not end in order: its samples end 3.") and "dmesg" in line for line in warnings
    )


def test_samples_without_classes_are_reported_and_have_no_stage_of_their_own(tmp_path: Path) -> None:
    """As py-spy 0.4.1 names functions: whose class, and so which site, is not known."""
    bare = [
        (("run_engine_core", *MAIN[1:]), ("wait", *WAIT[1:])),
        (("run_engine_core", *MAIN[1:]), ("schedule", "/x/y.py", 3)),
    ]
    read = samples.read(sampled_folder(tmp_path, {CORE: bare * 20}, version="py-spy 0.4.1"))
    frame = attribution.attributed(read, None)
    assert Counter(zip(frame["role"], frame["stage"], frame["state"], strict=True)) == {
        ("core", "", "event or queue"): 20,
        ("core", "", "working"): 20,
    }
    assert any(line.startswith("py-spy 0.4.1 named functions without") for line in tables.head(read, frame, None))


def test_attached_beside_a_recorder(tmp_path: Path) -> None:
    for folder, words in (("", "no recorder ran"), ("traces/x", "whose recorder writes into traces/x")):
        read = samples.read(sampled_folder(tmp_path, {CORE: [WORKING, WAITING]}, beacon=False, recorder=folder))
        assert any(words in line for line in tables.head(read, attribution.attributed(read, None), None))


def test_folded_speedscope_and_perfetto(both: Path) -> None:
    spans, read = timeline.read(both), samples.read(both)
    frame = attribution.attributed(read, spans)
    stacks.folded(read, frame, both / "x.folded")
    lines = (both / "x.folded").read_text().splitlines()
    assert sum(int(line.rpartition(" ")[2]) for line in lines) == pytest.approx(1_000_000, rel=0.01), "microseconds"
    assert lines[0].startswith("core;MainThread;EngineCoreProc.run_engine_core (vllm/v1/engine/core.py:10);")
    stacks.speedscope(read, frame, both / "x.json", "x")
    profile_file = json.loads((both / "x.json").read_text())
    (profile,) = profile_file["profiles"]
    assert len(profile["samples"]) == len(profile["weights"]) == 100
    assert sum(profile["weights"]) == pytest.approx(1, abs=0.02)
    assert profile_file["shared"]["frames"][profile["samples"][0][-1]]["name"] == "Scheduler.schedule"
    perfetto.export(spans, [], hops(), both / "x.pftrace")
    picture = check(both / "x.pftrace")
    assert any(track.startswith("py-spy ±") for track in picture["tracks"])
    assert Counter(picture["names"])["Scheduler.schedule (vllm/v1/core/sched/scheduler.py:30)"] == 25


def test_the_review_of_a_folder_has_what_the_python_does(both: Path) -> None:
    assert review.review(both) == 0
    attributed_rows = json.loads((both / "review.json").read_text())["samples"]
    (core,) = attributed_rows["threads"]
    assert (core["role"], core["samples"], core["working"]) == ("core", 100, pytest.approx(0.5, abs=0.01))
    assert core["waiting_for"] == {"spin on shared memory": pytest.approx(0.5, abs=0.01)}
    (schedule,) = [row for row in attributed_rows["stages"] if row["stage"] == "schedule"]
    assert (schedule["share"], schedule["working"]) == (pytest.approx(0.5, abs=0.01), 1)
    assert schedule["lines"][0]["line"] == "Scheduler.schedule (vllm/v1/core/sched/scheduler.py:30)"
    assert "Scheduler.schedule (vllm/v1/core/sched/scheduler.py:30)" in (both / "review.html").read_text()
    (both / "pyspy.json").write_text("{")
    assert any("pyspy" in line for line in findings.findings(both).review.problems)
