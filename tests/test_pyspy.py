"""py-spy's samples: placed in time, classed, put in stages; on synthetic files, and by py-spy on small programs."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import sysconfig
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.errors import EnginescopeError
from tests.sampledfolders import PERIOD_NS, sampled_folder
from tests.test_perfetto import check, hops
from tests.traces import TraceWriter
from tracing import (
    attribution,
    findings,
    perfetto,
    review,
    sampler,
    samples,
    sampletables,
    stacks,
    timeline,
    waitingframes,
)
from tracing.samples import Frame
from tracing.source import Missing, SourceTree

ROOT = Path(__file__).resolve().parent.parent
SITE = "/env/lib/python3.11/site-packages/"
MAIN = ("EngineCoreProc.run_engine_core", f"{SITE}vllm/v1/engine/core.py", 10)
STEP = ("EngineCore.step", f"{SITE}vllm/v1/engine/core.py", 20)
SCHEDULE = ("Scheduler.schedule", f"{SITE}vllm/v1/core/sched/scheduler.py", 30)
SPIN = ("MessageQueue.acquire_read", f"{SITE}vllm/distributed/device_communicators/shm_broadcast.py", 40)
RESULT = ("FutureWrapper.result", f"{SITE}vllm/v1/executor/multiproc_executor.py", 45)
YIELD = ("sched_yield", f"{SITE}vllm/distributed/utils.py", 50)
GET = ("Queue.get", "/usr/lib/python3.11/queue.py", 171)
WAIT = ("Condition.wait", "/usr/lib/python3.11/threading.py", 327)
CORE = (11, 12, "MainThread")
WORKING, WAITING = (MAIN, STEP, SCHEDULE), (MAIN, STEP, RESULT, SPIN, YIELD)


# --- the reader ---


def test_a_stack_that_stands_is_seen_in_every_round(tmp_path: Path) -> None:
    rounds = [(MAIN, GET, WAIT)] * 30 + [WORKING] * 20
    read = samples.read(sampled_folder(tmp_path, {CORE: rounds}))
    assert Counter(read.frame["stack"].map(lambda stack: read.stacks[stack][-1].name)) == {
        "Condition.wait": 30,
        "Scheduler.schedule": 20,
    }
    assert set(read.frame["pid"]) == {11}, "the sampler's own process is left out"
    assert read.names[11, 12] == "MainThread" and read.titles[11] == "synthetic"
    assert Frame(*GET).file == "queue.py" and Frame(*MAIN).file == "vllm/v1/engine/core.py"


@pytest.mark.parametrize("delay_us", [0, 2_000])
def test_samples_lie_where_they_were_taken(tmp_path: Path, delay_us: int) -> None:
    read = samples.read(sampled_folder(tmp_path, {CORE: [WORKING, WAITING] * 50}, 5_000_000_000, delay_us=delay_us))
    true = 5_000_000_000 + PERIOD_NS * np.arange(100)
    off = np.abs(read.frame["time_ns"].to_numpy() - true)
    assert 0 < off.max() <= read.within_ns(100) < 4_000_000


@settings(max_examples=60, deadline=None)
@given(
    delays_us=st.lists(st.integers(0, 9_000), min_size=2, max_size=60),
    naps=st.lists(st.integers(1_000_000, 6_000_000), min_size=1, max_size=9),
    epoch_ns=st.integers(10**9, 10**14),
)
def test_no_round_is_further_from_its_place_than_is_said(delays_us: list[int], naps: list[int], epoch_ns: int) -> None:
    true = epoch_ns + PERIOD_NS * np.arange(len(delays_us))
    begins = epoch_ns - 50_000_000 + np.concatenate(([0], np.cumsum(np.resize(naps, 1000))))
    began = begins[np.searchsorted(begins, true, "right") - 1]
    stamps = (true - epoch_ns) // 1000 + np.array(delays_us) + 777
    changed = np.flatnonzero(np.diff(began, prepend=0))
    clock = samples.by_beacon(stamps, np.stack([stamps[changed], began[changed]], axis=1), begins)
    assert (np.abs(clock.times_ns - true) <= clock.off_ns).all()
    assert clock.off_ns.max() <= max(naps)


def test_shares_are_of_time_where_rounds_are_uneven(tmp_path: Path) -> None:
    """A second of work seen in ten rounds counts as much as a second of waiting seen in a hundred."""
    rounds = [10 * number for number in range(10)] + list(range(100, 200))
    seen = [(*WORKING, (f"f{n}", "/x/f.py", n)) if n < 100 else (MAIN, GET, WAIT) for n in rounds]
    frame = attribution.attributed(samples.read(sampled_folder(tmp_path, {CORE: seen}, at=rounds)), None)
    assert Counter(frame["state"]) == {"working": 10, "event or queue": 100}
    times = attribution.by_time(frame, "state")
    assert times["working"] == pytest.approx(1, rel=0.02) and times["event or queue"] == pytest.approx(1, rel=0.02)


def test_a_dead_thread_stops_where_it_was_last_alive(tmp_path: Path) -> None:
    born = 1_000_000_000
    live = {"11": {"12": born + 10**10, "13": born + 500_000_000}}
    threads = {CORE: [WORKING, WAITING] * 500, (11, 13, "short"): [(MAIN, GET)]}
    read = samples.read(sampled_folder(tmp_path, threads, born, live))
    seen = read.frame.groupby("thread")["time_ns"].agg(["count", "max"])
    assert seen.loc[12, "count"] == 1000
    assert seen.loc[13, "count"] == pytest.approx(50, abs=1)


def test_a_file_that_breaks_off_is_read_to_there(tmp_path: Path) -> None:
    folder = sampled_folder(tmp_path, {CORE: [WORKING, WAITING] * 50})
    path = folder / "pyspy-events.json"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    read = samples.read(folder)
    assert read.torn and 30 < len(read.frame) < 100


def test_events_longer_than_a_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sampled_folder(tmp_path, {CORE: [WORKING, WAITING] * 20})
    whole = list(samples.events(folder / "pyspy-events.json"))
    monkeypatch.setattr(samples, "CHUNK", 37)
    assert list(samples.events(folder / "pyspy-events.json")) == whole


def test_folders_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(EnginescopeError, match="--py-spy"):
        samples.read(tmp_path)
    folder = sampled_folder(tmp_path / "new", {CORE: [WORKING]}, schema=99)
    with pytest.raises(EnginescopeError, match="schema 99"):
        samples.read(folder)
    killed = sampled_folder(tmp_path / "killed", {CORE: [WORKING]}, exit_code=-9)
    (killed / "pyspy-events.json").unlink()
    with pytest.raises(EnginescopeError, match="py-spy was killed"):
        samples.read(killed)


# --- working and waiting ---


@pytest.mark.parametrize(
    ("stack", "state"),
    [
        ((MAIN, GET, WAIT), "event or queue"),
        (WAITING, "spin on shared memory"),
        (WORKING, "working"),
        ((("Poller.poll", f"{SITE}zmq/sugar/poll.py", 106),), "poll"),
        ((("EpollSelector.select", "/usr/lib/python3.11/selectors.py", 468),), "poll"),
        ((("Condition.wait", "/home/me/threading.py.d/mine.py", 1),), "working"),
        ((("nap", __file__, 1), ("sampler._nap", sampler.__file__, 0)), "working"),
    ],
)
def test_state(stack: tuple[tuple[str, str, int], ...], state: str) -> None:
    assert waitingframes.state(tuple(Frame(*call) for call in stack)) == state


def test_a_line_that_sleeps_waits(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import time\nx = 1\ntime.sleep(5)\n")
    assert waitingframes.state((Frame("<module>", str(script), 3),)) == "sleep"
    assert waitingframes.state((Frame("<module>", str(script), 2),)) == "working"


def names_in(path: Path) -> set[str]:
    """The functions of a source file by qualified name, under an `if` too."""
    tree = ast.parse(path.read_text())
    owners = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return found | {
        f"{o.name}.{node.name}" for o in owners for node in ast.walk(o) if isinstance(node, ast.FunctionDef)
    }


@pytest.mark.parametrize(("file", "name"), [*waitingframes.INNERMOST, *waitingframes.ANYWHERE, *waitingframes.ENTRIES])
def test_every_frame_of_the_tables_is_there(file: str, name: str | None) -> None:
    """In the standard library, or in what is installed; vLLM's in its source."""
    if file.startswith("vllm/"):
        found = SourceTree.find(None).resolve(f"{file.removesuffix('.py').replace('/', '.')}:{name}")
        assert not isinstance(found, Missing), found
        return
    places = [Path(sysconfig.get_path(key), file) for key in ("stdlib", "platlib")]
    place = next((place for place in places if place.exists()), None)
    if place is None and file.startswith("uvloop/"):
        pytest.skip("uvloop is not installed")
    assert place is not None, f"{file} is nowhere"
    assert name is None or name in names_in(place)


# --- roles, stages and the check against spans ---


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
    assert {row["stage"] for row in sampletables.stages(read, frame, 3)} == {"schedule", "wait: worker"}
    frame.loc[frame["stage"] == "wait: worker", "weight_ns"] = 0
    [row] = sampletables.stages(read, frame, 3)
    assert (row["stage"], row["share"]) == ("schedule", 1)
    frame["weight_ns"] = 0
    assert sampletables.stages(read, frame, 3) == [] and sampletables.threads(frame)[0]["working"] == 0


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
    told = attribution.attributed(read, timeline.read(tmp_path))
    assert set(told["stage"]) >= {"schedule"} and "prefix lookup" not in set(told["stage"])
    assert 5 <= int((told["stage"] == "schedule").sum()) - int((plain["stage"] == "schedule").sum()) <= 20


def test_a_core_that_died_is_told(tmp_path: Path) -> None:
    TraceWriter(tmp_path, 11, ["core"]).span("core.step", 1, 2).close(stopped_ns=None)
    live = {"10": {"10": 5_000_000_000}, "11": {"12": 1_500_000_000}}
    threads = {CORE: [WORKING, WAITING] * 25, (10, 10, "MainThread"): [(MAIN, GET, WAIT)] * 400}
    read = samples.read(sampled_folder(tmp_path, threads, live=live))
    spans = timeline.read(tmp_path)
    said = list(sampletables.head(read, attribution.attributed(read, spans), spans))
    assert any(line.startswith("core 11 did not end in order: its samples end 3.") and "dmesg" in line for line in said)


# --- what is written ---


def test_folded_speedscope_and_perfetto(both: Path) -> None:
    spans, read = timeline.read(both), samples.read(both)
    frame = attribution.attributed(read, spans)
    stacks.folded(read, frame, both / "x.folded")
    lines = (both / "x.folded").read_text().splitlines()
    assert sum(int(line.rpartition(" ")[2]) for line in lines) == pytest.approx(1_000_000, rel=0.01), "microseconds"
    assert lines[0].startswith("core;MainThread;EngineCoreProc.run_engine_core (vllm/v1/engine/core.py:10);")
    stacks.speedscope(read, frame, both / "x.json", "x")
    made = json.loads((both / "x.json").read_text())
    (profile,) = made["profiles"]
    assert len(profile["samples"]) == len(profile["weights"]) == 100
    assert sum(profile["weights"]) == pytest.approx(1, abs=0.02)
    assert made["shared"]["frames"][profile["samples"][0][-1]]["name"] == "Scheduler.schedule"
    perfetto.export(spans, [], hops(), both / "x.pftrace")
    seen = check(both / "x.pftrace")
    assert any(track.startswith("py-spy ±") for track in seen["tracks"])
    assert Counter(seen["names"])["Scheduler.schedule (vllm/v1/core/sched/scheduler.py:30)"] == 25


def test_the_review_of_a_folder_has_what_the_python_does(both: Path) -> None:
    assert review.review(both) == 0
    told = json.loads((both / "review.json").read_text())["samples"]
    (core,) = told["threads"]
    assert (core["role"], core["samples"], core["working"]) == ("core", 100, pytest.approx(0.5, abs=0.01))
    assert core["waiting_for"] == {"spin on shared memory": pytest.approx(0.5, abs=0.01)}
    (schedule,) = [row for row in told["stages"] if row["stage"] == "schedule"]
    assert (schedule["share"], schedule["working"]) == (pytest.approx(0.5, abs=0.01), 1)
    assert schedule["lines"][0]["line"] == "Scheduler.schedule (vllm/v1/core/sched/scheduler.py:30)"
    assert "Scheduler.schedule (vllm/v1/core/sched/scheduler.py:30)" in (both / "review.html").read_text()
    (both / "pyspy.json").write_text("{")
    assert any("pyspy" in line for line in findings.findings(both).review["problems"])


# --- py-spy itself ---

WAITER = "import queue; queue.Queue().get()"
SPINNER = "while True: pass"


def pyspy(*words: str, before: tuple[str, ...] = (), **env: str) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-m", "tracing.pyspy", *words]
    return subprocess.run(command, cwd=ROOT, env=os.environ | env, capture_output=True, text=True, timeout=120)


@pytest.fixture
def started(request: pytest.FixtureRequest) -> int:
    process = subprocess.Popen([sys.executable, "-c", request.param], stdin=subprocess.DEVNULL)
    request.addfinalizer(process.wait)
    request.addfinalizer(process.kill)
    time.sleep(1)
    return process.pid


@pytest.mark.parametrize(("started", "works"), [(SPINNER, True), (WAITER, False)], indirect=["started"])
def test_attach_to_a_running_program(started: int, works: bool, tmp_path: Path) -> None:
    done = pyspy("attach", str(started), "--seconds", "1", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    frame = attribution.attributed(samples.read(tmp_path / "out"), None)
    assert 60 <= len(frame) <= 140
    assert (frame["state"] == "working").mean() == (1 if works else 0)
    assert (tmp_path / "out" / "samples.folded").stat().st_size > 0
    assert pyspy(str(tmp_path / "out")).returncode == 0, "the folder can be read again"


@pytest.mark.parametrize("started", ["import time; time.sleep(3)"], indirect=True)
def test_a_process_that_dies_is_told(started: int, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tracing.pyspy",
            "attach",
            str(started),
            "--seconds",
            "30",
            "--out",
            str(tmp_path / "o"),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    time.sleep(0.1)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"process {started} ended after" in text


def only_line(done: subprocess.CompletedProcess[str]) -> str:
    (line,) = done.stderr.splitlines()
    return line


def test_what_cannot_be_sampled_is_one_line(tmp_path: Path) -> None:
    gone = pyspy("attach", "4000000")
    assert gone.returncode == 1 and "there is no process 4000000" in only_line(gone)
    rate = pyspy("attach", str(os.getpid()), "--rate", "0")
    assert rate.returncode == 2 and "not between 1 and" in only_line(rate)
    assert pyspy(str(tmp_path), "12").returncode == 2


def test_a_missing_py_spy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sampler.py_spy().name == "py-spy", "beside this Python"
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnginescopeError, match="pip install py-spy"):
        sampler.py_spy()


OTHERS = "import os, time; os.setuid(65534) if os.getuid() == 0 else None; time.sleep(60)"


@pytest.mark.parametrize("started", [OTHERS], indirect=True)
def test_a_refused_ptrace_is_one_line(started: int, tmp_path: Path) -> None:
    """Another user's process, without the capability to look into it."""
    root = os.geteuid() == 0
    before = ("setpriv", "--bounding-set", "-sys_ptrace") if root else ()
    done = pyspy("attach", str(started if root else 1), "--out", str(tmp_path / "out"), before=before)
    assert done.returncode == 1
    assert "ptrace was refused" in only_line(done) and "sudo sysctl" in only_line(done)
    assert not list((tmp_path / "out").iterdir())


def test_recording_is_refused_before_the_command_starts(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tracing.record", "--py-spy", "5000", "--out", str(tmp_path / "t"), "--", "true"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "5000 samples a second" in only_line(done)
