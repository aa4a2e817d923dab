"""A look at what runs: what /proc says, what was counted, what a recorder left, and py-spy's dump of a real process."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import psutil
import pytest

from probes.devices.device import Activity, Device, DeviceReading
from probes.devices.sampling import SampledDevice
from probes.errors import EnginescopeError
from probes.metrics.exposition import Window, parse
from probes.processes.enginegroup import LaunchOptions, Member
from tests.shells import until
from tests.tracing.traces import TraceWriter
from tracing.events import layout, standing
from tracing.events.standing import Standing
from tracing.hang.chain import explain
from tracing.hang.doing import HangCause, doing
from tracing.hang.live import counting, lastspans, look, procfs, stacks
from tracing.hang.live.lastspans import LastSteps, Recorded, recorded
from tracing.hang.situation import Counters, MemberProcess, ProcessState, UnreadAnswer

PROGRAM = """import sys, time

def search():
    print("here", flush=True)
    while True:
        time.sleep(0.01)

search()
"""


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A Python process that stands in `search`."""
    script = tmp_path / "script.py"
    script.write_text(PROGRAM)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout and child.stdout.readline() == "here\n"
        try:
            stacks.dumped(child.pid, "")
        except EnginescopeError as error:
            child.kill()
            pytest.skip(str(error))
        yield child
        child.kill()


def test_a_dump_of_a_process(process: subprocess.Popen[str]) -> None:
    dump = stacks.dumped(process.pid, "Worker_TP0")
    assert (dump.pid, dump.title) == (process.pid, "Worker_TP0")
    assert [frame.name for frame in dump.main.python] == ["<module>", "search"]
    assert dump.main.python[-1].path.endswith("/script.py")


def test_a_process_that_is_stopped_stays_so(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGSTOP)
    until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, 10)
    assert stacks.dumped(process.pid, "", stopped=True).main.python[-1].name == "search"
    assert psutil.Process(process.pid).status() == psutil.STATUS_STOPPED


CALL = """import os, sys

def call():
    os.mkfifo(sys.argv[1])
    print("here", flush=True)
    opened = (os.POSIX_SPAWN_OPEN, 0, sys.argv[1], os.O_RDONLY, 0)
    os.posix_spawn("/bin/true", ["true"], {}, file_actions=[opened])

call()
"""


@pytest.mark.usefixtures("process")  # which may be looked into
def test_a_process_in_the_kernel_is_not_asked_to_stop(tmp_path: Path) -> None:
    """Who spawns waits there until the child has opened its files: a pipe that nobody writes to."""
    command = [sys.executable, "-c", CALL, str(tmp_path / "pipe")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as child:
        try:
            until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_DISK_SLEEP, 10)
            answer = explain(look.situation([Member(child.pid, "worker", "Worker_TP0")], None, 0.2)).answers[0]
            assert answer.cause == HangCause.IO
            assert re.match(r"is in the kernel \(\w+\), below call, for ", answer.text)
        finally:
            os.killpg(child.pid, signal.SIGKILL)


def test_a_situation_of_one_process(process: subprocess.Popen[str]) -> None:
    engine = look.situation([Member(process.pid, "worker", "Worker_TP0")], None, 0.2)
    [only] = engine.processes
    assert only.state is not None and only.before is not None
    assert engine.answers is None and engine.counters is None and not engine.problems
    [answer] = explain(engine).answers
    assert (answer.cause, answer.process) == (HangCause.PYTHON, f"worker Worker_TP0 ({process.pid})")
    assert answer.text.startswith("sleeps in search, for ")


def test_of_a_process_without_a_frame_of_python_the_functions_of_c_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Python ends it collects garbage, and nothing is on its stack any more."""

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        frame = "    gc_collect_main (libpython3.11.so.1.0)\n" if "--native" in command else ""
        return subprocess.CompletedProcess(command, 0, f"Process 7: python\n\nThread 7 (active+gil)\n{frame}", "")

    monkeypatch.setattr(stacks.subprocess, "run", run)
    now = doing("front end", None, stacks.dumped(7, "").main)
    assert (now.cause, now.text) == (HangCause.COLLECTION, "collects garbage (gc_collect_main)")


def test_a_process_that_cannot_be_looked_into_is_a_problem() -> None:
    with pytest.raises(EnginescopeError, match="py-spy"):
        stacks.dumped(2**22 + 1, "")


def test_what_is_refused_of_several_processes_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(pid: int, *_: object) -> None:
        raise EnginescopeError(f"py-spy could not sample process {pid}: ptrace was refused")

    monkeypatch.setattr(stacks, "dumped", refused)
    own, parent = os.getpid(), os.getppid()
    members = [Member(own, "core", "EngineCore"), Member(parent, "worker", "Worker_TP0")]
    [problem] = look.situation(members, None, 0.01).problems
    assert problem == f"py-spy could not sample process {own}, {parent}: ptrace was refused"


def test_a_process_of_no_engine_is_refused() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        with pytest.raises(EnginescopeError, match=f"no vLLM in process {child.pid}"):
            look.group_at(str(child.pid))
        child.kill()


def test_a_server_is_found_by_its_command_line_where_its_socket_is_not_to_be_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = [[Member(pid, "front end", "python"), Member(pid + 1, "core", "EngineCore")] for pid in (7, 17)]
    ports = {7: 8000, 17: 8001}
    monkeypatch.setattr(look, "listener", lambda port: None)
    monkeypatch.setattr(look, "groups", lambda: own)
    monkeypatch.setattr(look, "launch_options", lambda group: LaunchOptions(None, None, ports[group[0].pid]))
    assert look.group_at("127.0.0.1:8001")[0] == own[1]
    with pytest.raises(EnginescopeError, match="no process visible to you listens on port 8002"):
        look.group_at("127.0.0.1:8002")


@pytest.mark.parametrize(("pid", "busy"), [(7, {0: 40.0}), (9, {0: 40.0, 1: 100.0})])
def test_a_device_of_another_engine_is_not_the_engines(
    pid: int, busy: dict[int, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container the driver names no process of ours: any device may be the engine's then."""
    devices = [Device("nvidia", index, "GPU", 1, 2, holders={7 + index: 1}) for index in (0, 1)]
    sampled = [SampledDevice(index, "GPU", 1, Activity(share)) for index, share in ((0, 40.0), (1, 100.0))]
    monkeypatch.setattr(look, "read_devices", lambda: DeviceReading(devices))
    monkeypatch.setattr(look, "DeviceSampler", lambda: contextlib.nullcontext(mock.Mock(take=lambda: sampled)))
    assert look._wait(0.0, {pid}) == busy


def test_what_proc_says(tmp_path: Path) -> None:
    folder = tmp_path / "7"
    folder.mkdir()
    folder.joinpath("stat").write_text("7 (a (b) c) D 1 1 1 0 -1 0 0 0 0 0 150 50 0 0 20 0 1 0 1 1 1\n")
    folder.joinpath("wchan").write_text("nfs_wait")
    assert procfs.state_of(7, tmp_path) == ProcessState("D", "nfs_wait", 200 / procfs.TICKS, parent=1)
    assert procfs.state_of(8, tmp_path) is None
    own = procfs.state_of(os.getpid())
    assert own is not None and own.letter == "R"


HEAD = "  sl  local_address rem_address   st tx_queue rx_queue\n"
ROWS = (
    "   0: 0100007F:1F40 0100007F:C350 01 00001000:00000000 00:0\n"  # 127.0.0.1:8000 to port 50000, 4096 bytes unread
    "   1: 0100007F:1F40 0100007F:C351 01 00000000:00000000 00:0\n"
    "   2: 0100007F:1F41 0100007F:C352 01 00001000:00000000 00:0\n"
)


def test_what_clients_leave_unread(tmp_path: Path) -> None:
    folder = tmp_path / "7" / "net"
    folder.mkdir(parents=True)
    folder.joinpath("tcp").write_text(HEAD + ROWS)
    first = procfs.unread_answers(7, 8000, tmp_path)
    assert first == {"127.0.0.1:50000": 4096}
    assert procfs.still_unread(first, first) == (UnreadAnswer("127.0.0.1:50000", 4096),)
    assert procfs.still_unread(first, {"127.0.0.1:50000": 2048}) == ()


METRICS = """# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{engine="0"}} {running}
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{{engine="0"}} 2.0
# TYPE vllm:num_requests_waiting_by_reason gauge
vllm:num_requests_waiting_by_reason{{engine="0",reason="deferred"}} 2.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{{engine="0"}} {usage}
# TYPE vllm:generation_tokens counter
vllm:generation_tokens_total{{engine="0"}} {tokens}
# TYPE vllm:request_success counter
vllm:request_success_total{{engine="0",finished_reason="abort"}} {aborted}
"""


@pytest.mark.parametrize(
    ("after", "moved"),
    [
        ({}, ()),
        ({"tokens": 12}, ("2 generated tokens",)),
        ({"usage": 0.5}, ("KV cache in use from 25% to 50%",)),
        ({"running": 2}, ("1 to 2 running",)),  # a request that has just come is computed
        ({"aborted": 3}, ()),  # a client that gives up moves nothing in the core
    ],
)
def test_what_counts_as_progress(after: dict[str, float], moved: tuple[str, ...]) -> None:
    before = {"running": 1, "usage": 0.25, "tokens": 10, "aborted": 1}
    looks = [parse(METRICS.format(**values), at) for values, at in ((before, 1.0), (before | after, 6.0))]
    counters = counting.counted(Window(*looks))
    assert (counters.seconds, counters.waiting, counters.deferred) == (5.0, 2, 2)
    assert counters.running == (before | after)["running"]
    assert counters.moved == moved


FRONT_ENDS = """# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{engine="0",pid="7"}} 3
vllm:num_requests_running{{engine="0",pid="8"}} 3
vllm:num_requests_running{{engine="1",pid="7"}} 0
vllm:num_requests_running{{engine="1",pid="8"}} 2
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{{engine="0",pid="7"}} 0.5
vllm:kv_cache_usage_perc{{engine="0",pid="8"}} 0.5
vllm:kv_cache_usage_perc{{engine="1",pid="7"}} 0
vllm:kv_cache_usage_perc{{engine="1",pid="8"}} {usage}
"""


def test_what_two_engines_count_behind_two_front_ends() -> None:
    """Each front end reports both engines, a stale or no value among them; a share is the mean over the engines."""
    looks = [parse(FRONT_ENDS.format(usage=usage), at) for usage, at in ((0.5, 1.0), (0.25, 6.0))]
    counters = counting.counted(Window(*looks))
    assert (counters.running, counters.moved) == (5, ("KV cache in use from 50% to 37.5%",))
    assert counters.engines == {
        0: Counters(5.0, 3, None, ()),
        1: Counters(5.0, 2, None, ("KV cache in use from 50% to 25%",)),
    }


def test_the_last_spans_of_a_recorder(tmp_path: Path) -> None:
    core = TraceWriter(tmp_path, 10, ["core", "core input", "core output"])
    for step in (5, 6):
        core.span("scheduler.schedule", step, step + 1, step=step).batch(step, {"a": 1, f"b-{step}": 3})
    core.span("core.send", 8, 9, step=83_314_381_024_507, thread=2).close()
    TraceWriter(tmp_path, 20, ["worker"]).span("worker.execute", 5, 6, step=5).span("queue.put", 6, 7, step=5).close()
    last = recorded(str(tmp_path))
    assert [(span.pid, span.site, span.role, span.step) for span in last.spans] == [
        (10, "scheduler.schedule", "core", 6),
        (10, "core.send", "core output", -1),
        (20, "worker.execute", "worker", 5),
        (20, "queue.put", "worker", 5),
    ]
    assert last.cores == {10: LastSteps(6, 6, ("a", "b-6"))}
    assert recorded("").spans == ()


def test_what_a_core_encodes_for_a_coordinator_is_no_step(tmp_path: Path) -> None:
    """With data parallelism a core's output thread calls what is the front end's elsewhere, and numbers messages."""
    core = TraceWriter(tmp_path, 10, ["core", "core input", "core output"])
    core.span("scheduler.schedule", 5, 6, step=5).batch(5, {"a": 1})
    core.span("wire.encode", 8, 9, step=88_608_413_165_623, thread=2).close()
    last = recorded(str(tmp_path))
    assert [(span.site, span.step) for span in last.spans] == [("scheduler.schedule", 5), ("wire.encode", -1)]
    assert last.cores == {10: LastSteps(5, 5, ("a",))}


def test_a_recorder_in_standby_is_found_though_no_environment_names_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lastspans, "recorder_folder", lambda pid: "")
    monkeypatch.setattr(standing, "rooms", lambda: [tmp_path])
    assert lastspans.folder_of([os.getpid()]) == ""
    (tmp_path / "standing").mkdir()
    Standing(3 << 20, True, os.getpid(), "a server").write(tmp_path / "standing")
    assert lastspans.folder_of([os.getpid()]) == str(tmp_path / "standing")
    assert recorded(str(tmp_path / "standing")).standby and not recorded(str(tmp_path)).standby


def test_of_a_long_recording_the_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lastspans, "LAST_RECORDS", 3)
    core = TraceWriter(tmp_path, 10, ["core"]).span("scheduler.update", 1, 2, step=0)
    for step in (5, 6):
        core.span("scheduler.schedule", step, step + 1, step=step).batch(step, {f"b-{step}": 3})
    core.close()
    last = recorded(str(tmp_path))
    assert [(span.site, span.step) for span in last.spans] == [("scheduler.schedule", 6)]
    assert last.cores == {10: LastSteps(6, 6, ("b-6",))}


@pytest.mark.parametrize(
    ("batch", "moved", "rounds"), [({"a": 1}, ("3 recorded steps",), 0), ({}, (), 3)], ids=["a batch", "no batch"]
)
def test_a_step_without_a_batch_moves_nothing(
    batch: dict[str, int], moved: tuple[str, ...], rounds: int, tmp_path: Path
) -> None:
    """A core that waits for remote KV steps on and on, and schedules nothing."""
    core = TraceWriter(tmp_path / "0", 10, ["core"]).span("scheduler.schedule", 5, 6, step=5).batch(5, {"a": 4})
    core.close()
    first = recorded(str(tmp_path / "0"))
    later = TraceWriter(tmp_path / "1", 10, ["core"]).span("scheduler.schedule", 5, 6, step=5).batch(5, {"a": 4})
    later.span("scheduler.schedule", 7, 8, step=8).batch(8, batch).close()
    second = recorded(str(tmp_path / "1"))
    looks = [look.Look(at, {}, {}, None, its, {}, {}) for at, its in ((1.0, first), (6.0, second))]
    counters = look._counters([MemberProcess(10, "core", "EngineCore", None)], *looks)
    assert counters is not None and (counters.moved, counters.rounds) == (moved, rounds)
    assert second.cores == {10: LastSteps(8, 8 if batch else 5, ("a",))}


def test_each_of_two_engines_has_its_own_steps() -> None:
    text = "# TYPE vllm:num_requests_running gauge\n" + "".join(
        f'vllm:num_requests_running{{engine="{number}"}} 1\n' for number in (0, 1)
    )
    steps = ({10: LastSteps(5, 5), 11: LastSteps(70, 70)}, {10: LastSteps(8, 8), 11: LastSteps(70, 70)})
    looks = [
        look.Look(at, {}, {}, parse(text, at), Recorded((), its), {}, {})
        for at, its in zip((1.0, 6.0), steps, strict=True)
    ]
    cores = [MemberProcess(10 + number, "core", f"EngineCore_DP{number}", None) for number in (0, 1)]
    counters = look._counters(cores, *looks)
    assert counters is not None and counters.moved == ("3 recorded steps",)
    assert {number: each.moved for number, each in counters.engines.items()} == {0: ("3 recorded steps",), 1: ()}


def test_a_ring_in_its_first_lap_is_shorter_than_it_will_be(tmp_path: Path) -> None:
    path = TraceWriter(tmp_path, 20, ["worker"]).span("worker.execute", 5, 6, step=5).close()
    content = np.fromfile(path, layout.RECORD)
    head = content[:1].view(layout.HEADER)
    head["ring"] = 1000
    content.tofile(path)
    assert [span.step for span in recorded(str(tmp_path)).spans] == [5]
