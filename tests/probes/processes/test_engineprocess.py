"""An engine's process: asked, and what it says when it fails, ends or does not answer; without an engine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import psutil
import pytest

from probes.processes import engine
from probes.processes.engine import EngineFailed, EngineProcess
from tests.shells import until

ECHO = """
from probes.processes.dialogue import answer_commands
answer_commands(lambda command: {"twice": 2 * command["number"]})
"""


def echo(log: Path, **more: Path) -> EngineProcess:
    return EngineProcess(ECHO, log, {}, **more)


def test_commands_are_answered_one_by_one(tmp_path: Path) -> None:
    with echo(tmp_path / "log") as process:
        assert [process.ask({"number": number}, 30) for number in (1, 2)] == [{"twice": 2}, {"twice": 4}]
        process.stop()
    assert process.child.process.returncode == 0


def test_a_process_that_ends_says_how(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    ends = pytest.raises(EngineFailed, match=r"^the engine's process died \(exit code 0\): see its log$")
    with EngineProcess("", tmp_path / "log", {}, scratch=scratch) as process, ends:
        process.receive(30)
    assert process.child.members() == []
    assert not scratch.exists()


LEAVES_A_WORKER = """
import subprocess, time
print("worker", subprocess.Popen(["sleep", "600"]).pid, flush=True)
time.sleep(1)
"""


def test_what_an_engine_leaves_that_died_while_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program around it gives it a session of its own, as nsys does; it never answered."""
    monkeypatch.setattr(engine, "WATCH_S", 0.05)
    around = ["sh", "-c", 'setsid "$@" & wait', "sh"]
    process = EngineProcess(LEAVES_A_WORKER, tmp_path / "log", {}, around)
    with process, pytest.raises(EngineFailed, match="the engine's process died"):
        process.receive(60)
    worker = int(process.child.logged().split()[-1])
    assert not psutil.pid_exists(worker) or psutil.Process(worker).status() == psutil.STATUS_ZOMBIE


def test_an_error_is_reported_in_the_words_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("ValueError: of an earlier engine\n")
    with echo(log) as process, pytest.raises(EngineFailed, match=r"^KeyError: 'number'$") as caught:
        process.ask({"no": "number"}, 30)
    assert not caught.value.refused
    assert log.read_text().startswith("ValueError: of an earlier engine\nTraceback")


def test_a_refused_configuration_is_told_apart(tmp_path: Path) -> None:
    entry = """
print("ValueError: No common block size for 16", flush=True)
from probes.processes.dialogue import answer_commands
answer_commands(lambda command: {"error": "RuntimeError: Engine core initialization failed"})
"""
    with EngineProcess(entry, tmp_path / "log", {}) as process, pytest.raises(EngineFailed) as caught:
        process.ask({}, 30)
    assert (str(caught.value), caught.value.refused) == ("ValueError: No common block size for 16", True)


def test_no_answer_in_time(tmp_path: Path) -> None:
    with echo(tmp_path / "log") as process, pytest.raises(EngineFailed, match="no answer within 0 s; killed"):
        process.receive(0.05)
    assert process.child.members() == []


def test_a_process_whose_engine_died_has_some_seconds_to_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """vLLM may wait for ever for a core that was killed: here the process is silent because it was asked nothing."""
    monkeypatch.setattr(engine, "LAST_WORDS_S", 0.5)
    with echo(tmp_path / "log") as process:
        core = subprocess.Popen(["VLLM::EngineCore", "60"], executable=shutil.which("sleep"))
        until(lambda: engine._is_titled(psutil.Process(core.pid)))
        process._engine = [psutil.Process(core.pid)]
        with pytest.raises(EngineFailed, match="no answer within 1 s"):
            process.receive(1.2)
        core.kill()
        with pytest.raises(EngineFailed, match=r"^a process of the engine died: see its log$"):
            process.receive(60)
        core.wait()
