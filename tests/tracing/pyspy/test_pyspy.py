"""py-spy itself: attached to small programs, refused, and missing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from enginescope_plugin import TRACE
from probes.errors import EnginescopeError
from tests.shells import until
from tracing.pyspy import attribution, sampler, samples
from tracing.pyspy.process import PySpy, py_spy

# Programs that print a line once they do what they are for.
WAITER = "import queue\nprint(flush=True)\nqueue.Queue().get()"
SPINNER = "print(flush=True)\nwhile True: pass"

# A core that forks its worker, in files of the names that vLLM has.
CORE = """
import multiprocessing
from vllm.v1.executor.multiproc_executor import WorkerProc
class EngineCoreProc:
    def run_engine_core():
        worker = multiprocessing.get_context("fork").Process(target=WorkerProc.worker_main)
        worker.start()
        print(flush=True)
        worker.join()
"""
WORKER = """
import os
class WorkerProc:
    def worker_main():
        core = os.getppid()
        while os.getppid() == core: pass
"""

ROOT = Path(__file__).resolve().parents[3]


def pyspy(*words: str, before: tuple[str, ...] = (), **env: str) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-m", "tracing.pyspy", *words]
    return subprocess.run(command, cwd=ROOT, env=os.environ | env, capture_output=True, text=True, timeout=120)


@pytest.fixture
def started(request: pytest.FixtureRequest) -> int:
    process = subprocess.Popen(
        [sys.executable, "-c", request.param], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    request.addfinalizer(process.communicate)
    request.addfinalizer(process.kill)
    assert process.stdout is not None and process.stdout.readline() == "\n"
    return process.pid


@pytest.mark.parametrize(
    ("started", "works"), [(SPINNER, True), (WAITER, False)], indirect=["started"], ids=["busy", "waiting"]
)
def test_attach_to_a_running_program(started: int, works: bool, tmp_path: Path) -> None:
    done = pyspy("attach", str(started), "--seconds", "1", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    frame = attribution.attributed(samples.read(tmp_path / "out"), None)
    assert 60 <= len(frame) <= 140
    assert (frame["state"] == "working").mean() == (1 if works else 0)
    assert (tmp_path / "out" / "samples.folded").stat().st_size > 0
    assert pyspy(str(tmp_path / "out")).returncode == 0, "the folder can be read again"


def test_a_forked_worker_is_told_from_its_core(tmp_path: Path) -> None:
    installed = tmp_path / "site-packages"
    for name, text in (("vllm/v1/engine/core.py", CORE), ("vllm/v1/executor/multiproc_executor.py", WORKER)):
        (installed / name).parent.mkdir(parents=True)
        (installed / name).write_text(text)
    (installed / "vllm/__init__.py").touch()  # or the package that is installed comes first
    command = [sys.executable, "-c", "from vllm.v1.engine.core import EngineCoreProc as p; p.run_engine_core()"]
    environment = os.environ | {"PYTHONPATH": str(installed)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as core:
        try:
            assert core.stdout is not None and core.stdout.readline() == "\n"
            done = pyspy("attach", str(core.pid), "--seconds", "1", "--out", str(tmp_path / "out"))
        finally:
            core.kill()
    assert done.returncode == 0, done.stderr
    read = samples.read(tmp_path / "out")
    frame = attribution.attributed(read, None)
    assert len(read.names) == 2 and frame.groupby("role")["pid"].nunique().to_dict() == {"core": 1, "worker": 1}
    assert (frame["state"][frame["role"] == "worker"] == "working").all()
    assert (frame["state"][frame["role"] == "core"] != "working").all()


def test_attach_knows_that_a_recorder_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WAITER]
    environment = os.environ | {TRACE: "traces/mine"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == b"\n"  # before, it has none yet
            assert sampler.recorder_folder(process.pid) == "traces/mine"
            assert sampler.recorder_folder(4_000_000) == ""
        finally:
            process.kill()


@pytest.mark.parametrize("started", [WAITER], indirect=True)
def test_a_process_that_dies_is_reported(started: int, tmp_path: Path) -> None:
    log = tmp_path / "o" / sampler.LOG
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
    until(lambda: log.exists() and "Sampling process" in log.read_text())
    os.kill(started, signal.SIGKILL)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"process {started} ended after" in text


@pytest.mark.parametrize("started", [SPINNER], indirect=True)
def test_it_samples_until_it_is_stopped(started: int, tmp_path: Path) -> None:
    sampling = PySpy(started, ["--format", "raw", "--output", str(tmp_path / "samples.txt")], tmp_path / "log")
    assert sampling.running
    assert sampling.stop(limit_s=30) == 0
    assert not sampling.running and (tmp_path / "samples.txt").exists()


def test_where_it_cannot_sample_it_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(EnginescopeError, match="py-spy could not sample process 4000000: "):
        PySpy(4_000_000, [], tmp_path / "log")
    assert not list(tmp_path.iterdir())


def only_line(done: subprocess.CompletedProcess[str]) -> str:
    (line,) = done.stderr.splitlines()
    return line


def test_what_cannot_be_sampled_is_one_line(tmp_path: Path) -> None:
    gone = pyspy("attach", "4000000")
    assert gone.returncode == 1 and "there is no process 4000000" in only_line(gone)
    rate = pyspy("attach", str(os.getpid()), "--rate", "0")
    assert rate.returncode == 2 and "not between 1 and" in only_line(rate)
    assert pyspy(str(tmp_path), "12").returncode == 2


def test_a_missing_py_spy_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert py_spy().name == "py-spy", "beside this Python"
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnginescopeError, match="pip install py-spy"):
        PySpy(os.getpid(), [], tmp_path / "log")
    assert not list(tmp_path.iterdir())


OTHERS = "import os, time\nif os.getuid() == 0: os.setuid(65534)\nprint(flush=True)\ntime.sleep(60)"


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
