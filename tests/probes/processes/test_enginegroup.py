"""An engine's processes are found by any of them: real processes with vLLM's titles."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psutil
import pytest

from probes.processes.enginegroup import LaunchOptions, arguments, group_of, groups, launch_options, listener
from tests.probes.memory.memorycommand import run, small_model, tree
from tests.probes.metrics.metrics_server import serving


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return small_model(tmp_path)


def test_any_process_of_an_engine_finds_the_whole(model) -> None:
    with tree("serve", str(model)) as pids:
        members = {name: group_of(pid) for name, pid in pids.items() if name != "helper"}
        roles = {member.pid: (member.role, member.name) for member in members["front end"]}
        assert all(group == members["front end"] for group in members.values())
        assert members["front end"][0].pid == pids["front end"]
        assert roles[pids["EngineCore"]] == ("core", "EngineCore")
        assert roles[pids["Worker_TP0"]] == ("worker", "Worker_TP0")
        assert roles[pids["Worker_TP1"]] == ("worker", "Worker_TP1")
        assert roles[pids["helper"]][0] == "helper"
        assert {role for role, _ in roles.values()} == {"front end", "core", "worker", "helper"}
        assert group_of(pids["helper"]) == members["front end"]
        assert members["front end"] in groups()
        assert not any(member.pid == os.getpid() for member in members["front end"])


def test_who_started_an_engine_is_not_its_front_end(model) -> None:
    """A recorder in Python, and the shell between: the engine that they started is meant."""
    with tree("serve", str(model), wrapped=True) as pids:
        engine = group_of(pids["EngineCore"])
        assert engine[0].pid == pids["front end"] != pids["wrapper"]
        assert group_of(pids["wrapper"]) == engine
        assert group_of(pids["shell"]) == engine


def test_what_a_worker_forks_is_no_worker() -> None:
    """It keeps the title, and the first letters of it when it has ended and nobody waited for it."""
    program = (
        "import os, time; from pathlib import Path; Path('/proc/self/comm').write_text('VLLM::Worker_TP'); "
        "os.fork() or time.sleep(60); ended = os.fork() or os._exit(0); "
        "os.waitid(os.P_PID, ended, os.WEXITED | os.WNOWAIT); print(flush=True); time.sleep(60)"
    )
    words = ["VLLM::Worker_TP0", "-c", program]
    worker = subprocess.Popen(words, executable=os.readlink("/proc/self/exe"), stdout=subprocess.PIPE)
    try:
        assert worker.stdout and worker.stdout.readline()
        roles = {member.pid: member.role for member in group_of(worker.pid)}
        forks = [each.pid for each in psutil.Process(worker.pid).children(recursive=True)]
        assert [roles[pid] for pid in (worker.pid, *forks)] == ["worker", "helper", "helper"]
    finally:
        for each in (*psutil.Process(worker.pid).children(recursive=True), worker):
            each.kill()
        worker.communicate()


def test_what_starts_an_engine_may_start_other_programs_too(model) -> None:
    with tree("serve", str(model)), subprocess.Popen(["sleep", "60"]) as child:
        try:
            assert [(member.role, member.name) for member in group_of(child.pid)] == [("front end", "sleep")]
        finally:
            child.kill()


def test_a_process_of_no_engine_stands_alone() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        assert [(member.role, member.name) for member in group_of(child.pid)] == [("front end", "sleep")]
    finally:
        child.kill()
        child.wait()


def test_a_gone_process_is_one_line() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    done = run(str(child.pid))
    assert done.returncode == 1
    assert done.stderr == f"error: there is no process {child.pid}; ps -ef lists those that run\n"
    assert run("9" * 30).returncode == 1


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("vllm serve ORG/M --dtype float32", LaunchOptions("ORG/M", "float32", 8000)),
        ("python /bin/vllm serve --port 9000 --model M", LaunchOptions("M", None, 9000)),
        ("python -m vllm.entrypoints.openai.api_server --model=M --port=1", LaunchOptions("M", None, 1)),
        ("python -m offline.load --model M", LaunchOptions("M", None, None)),
        ("vllm serve", LaunchOptions(None, None, 8000)),
        ("vllm serve M -tp 2", LaunchOptions("M", None, 8000, 2)),
        ("vllm serve M --tensor-parallel-size=4", LaunchOptions("M", None, 8000, 4)),
        ("python run.py --model", LaunchOptions(None, None, None)),
        ("", LaunchOptions(None, None, None)),
    ],
)
def test_what_a_command_line_says(line, expected) -> None:
    assert arguments(line.split()) == expected


def test_a_relative_model_is_the_front_ends(model) -> None:
    with tree("--model", model.name, cwd=model.parent) as pids:
        assert launch_options(group_of(pids["Worker_TP0"])) == LaunchOptions(str(model), None, None)


def test_without_the_right_to_trace_the_engine_is_found_all_the_same(model, monkeypatch) -> None:
    def refused(process: psutil.Process) -> str:
        raise psutil.AccessDenied(process.pid)

    with tree("--model", model.name, "--port", "8000", cwd=model.parent) as pids:
        group = group_of(pids["Worker_TP0"])
        for name in ("exe", "cwd"):
            monkeypatch.setattr(psutil.Process, name, refused)
        assert group_of(pids["Worker_TP0"]) == group
        assert launch_options(group) == LaunchOptions(model.name, None, 8000)


def test_listener() -> None:
    with serving(lambda: "") as url:
        assert listener(int(url.rpartition(":")[2])) == os.getpid()
    assert listener(9) is None
