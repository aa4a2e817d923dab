"""`tracing.attach` and `tracing.record --standby`: turned on from outside, for a while, by the same user alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from probes.errors import EnginescopeError
from tests.shells import until
from tests.tracing.attach.standingprocess import PROGRAM, ROOT, counting, folder_of
from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.attach import switch
from tracing.attach.engine import StandingEngine, pid_of, standing_engine
from tracing.attach.recording import dump
from tracing.attach.switch import turned_on
from tracing.breakdown.findings import findings
from tracing.events import pinned, standing
from tracing.events.layout import CALLED
from tracing.events.pinned import PinnedRequest
from tracing.events.standing import PAUSED, SWITCH, SWITCH_BYTES
from tracing.hooks.standing import Lease, make


@pytest.mark.parametrize(
    ("text", "size"), [("60s", 60 << 20), ("64MiB", 64 << 20), ("8", 8 << 20), (" 1 mib ", 1 << 20)]
)
def test_the_size_of_a_ring(text: str, size: int) -> None:
    assert standing.ring_bytes(text) == size


@pytest.mark.parametrize("text", ["", "0s", "60 minutes", "-1", "5000"])
def test_what_is_no_size_of_a_ring(text: str) -> None:
    with pytest.raises(ValueError, match="MiB"):
        standing.ring_bytes(text)


def test_only_the_user_sees_the_folder_and_of_ended_engines_two_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracing.hooks.standing.rooms", lambda: (tmp_path / "rooms", tmp_path / "rooms"))
    ended = [tmp_path / "rooms" / f"99999999-{number}" for number in range(4)]
    for path in ended:
        path.mkdir(parents=True)
        time.sleep(0.01)
    folder = make("8MiB")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.exists() for path in ended] == [False, False, True, True]
    said = standing.read(folder)
    assert said is not None and (said.ring_bytes, said.standby) == (8 << 20, False)
    assert (folder / SWITCH).read_bytes() == SWITCH_BYTES.pack(standing.RECORDING, 0)


@pytest.mark.parametrize("memory", ["no such folder", "too small"])
def test_without_enough_memory_the_rings_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: str
) -> None:
    """As in a container: vLLM's own queues need what there is. The engine is found there too."""
    (tmp_path / "too small").mkdir()
    monkeypatch.setattr(standing, "MEMORY", tmp_path / memory)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    state_of = os.statvfs

    def small(path: Path) -> SimpleNamespace:
        state_of(path)  # raises where it is not there
        return SimpleNamespace(f_bavail=64, f_frsize=1 << 20)

    monkeypatch.setattr("os.statvfs", small)
    folder = make("60s")
    assert folder.parent == tmp_path / f"enginescope-{os.getuid()}"
    found = standing_engine(os.getpid())
    assert found is not None and found.folder == folder


def engine(folder: Path) -> StandingEngine:
    said = standing.read(folder)
    assert said is not None
    return StandingEngine(folder, said)


@pytest.mark.parametrize("module", ["tracing.attach", "tracing.top", "tracing.hang", "probes.memory"])
@pytest.mark.parametrize(
    ("pid", "line"),
    [
        ("1", "error: process 1 is not an engine: all processes descend from it; name another, or none"),
        (str(2**22 + 1), f"error: there is no process {2**22 + 1}; ps -ef lists those that run"),
    ],
)
def test_a_process_that_cannot_be_looked_at_is_refused_alike(pid: str, line: str, module: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", module, pid]
    environ = {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{line}\n")
    assert not list(tmp_path.iterdir())


def test_two_readers_at_once(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, standby=True)
    with turned_on(engine(folder)):
        assert (folder / SWITCH).read_bytes()[0] == standing.RECORDING
        with pytest.raises(EnginescopeError, match="is already being recorded"), turned_on(engine(folder)):
            pass
    assert (folder / SWITCH).read_bytes() == SWITCH_BYTES.pack(PAUSED, 0)


def test_it_stays_on_however_long_a_reader_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switch, "RENEWAL_S", 0.01)
    folder = folder_of(tmp_path, standby=True)
    with turned_on(engine(folder)), (folder / SWITCH).open("r+b", buffering=0) as file:
        file.write(SWITCH_BYTES.pack(standing.RECORDING, time.monotonic_ns() - 1))
        until(lambda: SWITCH_BYTES.unpack((folder / SWITCH).read_bytes())[1] > time.monotonic_ns())
    assert (folder / SWITCH).read_bytes() == SWITCH_BYTES.pack(PAUSED, 0)


def test_a_reader_that_was_killed_does_not_leave_it_on(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, standby=True)
    (folder / SWITCH).write_bytes(SWITCH_BYTES.pack(standing.RECORDING, time.monotonic_ns() - 1))
    Lease(folder).check()
    assert (folder / SWITCH).read_bytes()[0] == PAUSED


def attached(target: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tracing.attach", target, *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_standing_by_nothing_is_written_until_somebody_attaches(tmp_path: Path) -> None:
    out = tmp_path / "trace"
    command = [sys.executable, "-m", "tracing.record", "--standby", "--", sys.executable, "-c", PROGRAM]
    program = 'import os, sys; sys.argv = ["-c", os.environ["ENGINESCOPE_TRACE"], "0", "0.001"]\n' + PROGRAM
    with subprocess.Popen([*command[:-1], program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as recorder:
        assert recorder.stdout is not None and recorder.stdout.readline() == "ready\n"
        done = attached(str(recorder.pid), "--seconds", "0.5", "--out", str(out), "--partial")
        recorder.send_signal(signal.SIGTERM)
        count = int(recorder.stdout.read())
    assert done.returncode == 0, done.stderr
    spans = timeline.read(out).spans.query("site != 'gc'")
    inner = sorted(spans["value"].tolist())[1:-1]  # it may be turned on or off between a span and the counter
    assert inner == list(range(inner[0], inner[-1] + 1)) and len(inner) > 500 and abs(count - inner[-1]) <= 3
    assert {path.name for path in out.iterdir()} >= {"trace.json", "contention.csv"}
    assert json.loads((out / "trace.json").read_text())["state"] == "ended"


def ringing(out: Path, *command: str) -> list[str]:
    options = ["--ring", "8MiB", "--out", str(out), "--partial"]
    return [sys.executable, "-m", "tracing.record", *options, "--", *command]


def test_the_rings_of_a_command_are_its_trace_folder(tmp_path: Path) -> None:
    out = tmp_path / "trace"
    program = 'import os, sys; sys.argv = ["-c", os.environ["ENGINESCOPE_TRACE"], "0", "0.001"]\n' + PROGRAM
    with subprocess.Popen(ringing(out, sys.executable, "-c", program), stdout=subprocess.PIPE, text=True) as recorder:
        assert recorder.stdout is not None and recorder.stdout.readline() == "ready\n"
        recorder.send_signal(signal.SIGTERM)
        count = int(recorder.stdout.readline())
    spans = timeline.read(out).spans.query("site != 'gc'")
    assert sorted(spans["value"].tolist()) == list(range(count)) and count > 0


def test_a_folder_that_is_taken_is_refused_before_the_command_runs(tmp_path: Path) -> None:
    """Nothing is lost that the rings would hold; and a command that cannot be started leaves no folder."""
    (tmp_path / "mark").touch()
    done = subprocess.run(ringing(tmp_path, "touch", str(tmp_path / "ran")), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "is not empty" in done.stderr and not (tmp_path / "ran").exists()
    done = subprocess.run(ringing(tmp_path / "out", "no-such-command"), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "no-such-command" in done.stderr and not (tmp_path / "out").exists()


def test_a_ring_is_dumped_after_its_process_was_killed(tmp_path: Path) -> None:
    folder, out = folder_of(tmp_path, standby=False), tmp_path / "trace"
    out.mkdir()
    with counting(folder, pause_s=0.01) as process:
        time.sleep(0.1)
        process.end(signal.SIGKILL)
    assert dump(engine(folder), out, True) == 0
    [said] = timeline.read(out).processes
    assert said.stopped_ns is None and said.first_ns == 0


def test_a_process_without_standby_keeps_no_ring() -> None:
    done = attached(str(os.getpid()), "--dump")
    assert done.returncode == 1 and "start it with ENGINESCOPE_RING=60s" in done.stderr


def test_a_ring_is_dumped_now_or_watched() -> None:
    done = attached("1", "--dump", "--keep", "error")
    assert done.returncode == 2 and "--keep: not allowed with argument --dump" in done.stderr


def test_a_server_elsewhere_is_refused() -> None:
    with pytest.raises(EnginescopeError, match="is not this machine"):
        pid_of("http://example.org:8000")


FORKING = """
import os, socket, time
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
if os.fork() == 0:
    time.sleep(60)
os.wait()
"""


def test_of_processes_that_share_a_socket_the_first_is_the_server() -> None:
    """A core that was forked has its server's sockets open, and another command line."""
    command = [sys.executable, "-c", FORKING]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as server:
        assert server.stdout is not None
        try:
            port = int(server.stdout.readline())
            until(psutil.Process(server.pid).children)
            assert pid_of(f"http://127.0.0.1:{port}") == server.pid
        finally:
            os.killpg(server.pid, signal.SIGKILL)


def test_one_request_is_no_requests(tmp_path: Path) -> None:
    core = TraceWriter(tmp_path, 2, ["core"]).batch(0, {"seen-1": 1})
    core.close(first_ns=100)
    assert (
        "1 request already in progress when the recording began: cut at the start" in findings(tmp_path).review.problems
    )


def test_in_a_dump_the_requests_that_still_run_are_counted(tmp_path: Path) -> None:
    """The ring has not turned: it is whole from the start."""
    front, core = TraceWriter(tmp_path, 1, ["front end"]), TraceWriter(tmp_path, 2, ["core"], parent=1)
    for name in ("one", "other"):
        front.span("input.assign_id", 10, 11, f"{name}-1").renamed(f"{name}-1", name)
        core.span("core.add_request", 12, 13, f"{name}-1").batch(0, {f"{name}-1": 1})
    for writer in (front, core):
        writer.close()
    lines = [line for line in findings(tmp_path).review.problems if "request" in line]
    assert lines == ["2 requests still in progress when the recording ended: cut at the end"]


def test_a_request_that_ran_already_is_cut_at_the_start(tmp_path: Path) -> None:
    """`early` began before the recording; of `seen` and `long` not even the beginning is there, but the core has that
    of `long`; `late` came after, and `last` was called when it ended."""
    front, core = TraceWriter(tmp_path, 1, ["front end"]), TraceWriter(tmp_path, 2, ["core"], parent=1)
    for name, start in (("early", 50), ("late", 150)):
        front.span("input.assign_id", start, start + 1, f"{name}-1").renamed(f"{name}-1", name)
        core.span("core.add_request", start + 5, start + 6, f"{name}-1")
    front.span("async.generate", 200, 200, "last", value=CALLED, extra=2)
    core.batch(0, {"early-1": 1, "seen-1": 1, "long-1": 1}).batch(1, {"late-1": 1})
    for writer in (front, core):
        writer.close(first_ns=100)
    pinned.write(tmp_path, 2, {"long-1": PinnedRequest(100 - 74_200_000_000, 7)})
    read = findings(tmp_path)
    states = {flow.request: flow.missing for flow in read.flows}
    assert states["early-1"] == states["seen-1"] == states["long-1"] == ("the start of it",)
    begun = {flow.request: (flow.start_ns, flow.prompt_tokens) for flow in read.flows}
    assert begun["seen-1"] == (100, 0) and begun["long-1"] == (100 - 74_200_000_000, 7)
    assert "the end of it" in states["late-1"]
    line = "3 requests already in progress when the recording began, the oldest for 74.2 s: cut at the start"
    assert line in read.review.problems
    assert states["last"] == ("input.assign_id", "the end of it")
    assert "2 requests still in progress when the recording ended: cut at the end" in read.review.problems
    assert not [line for line in read.review.problems if line.startswith("request ")]
