"""An arm's process group: frozen, thawed, asked, and what it says when it ends; without an engine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from offline.engine import process
from offline.engine.process import ArmFailed, ArmProcess
from probes.processgroup import members
from tests.shells import shells, until

COUNTER = """
import sys, time
while True:
    with open(sys.argv[1], "a") as file:
        file.write(".")
    time.sleep(0.002)
"""


def test_a_frozen_group_stands_still_until_it_is_thawed(tmp_path: Path) -> None:
    counters = [tmp_path / "one", tmp_path / "two"]
    script = '"$1" -ISc "$2" "$3" & "$1" -ISc "$2" "$4" & wait'
    with shells() as start:
        shell = start(script, sys.executable, COUNTER, *map(str, counters))
        arm: Any = SimpleNamespace(process=shell)
        until(lambda: all(path.exists() for path in counters))

        ArmProcess.freeze(arm)
        states = {one.pid: one.status() for one in members(shell.pid)}
        assert states.pop(shell.pid) != psutil.STATUS_STOPPED  # the keeper goes on watching
        until(lambda: {one.status() for one in members(shell.pid) if one.pid in states} == {psutil.STATUS_STOPPED})
        before = [path.stat().st_size for path in counters]
        time.sleep(0.1)
        assert [path.stat().st_size for path in counters] == before

        ArmProcess.thaw(arm)
        until(lambda: all(path.stat().st_size > size for path, size in zip(counters, before, strict=True)))


def test_an_arm_that_ends_says_how(tmp_path: Path) -> None:
    with ArmProcess(tmp_path / "log") as arm:
        arm.send({"do": "stop"})
        with pytest.raises(ArmFailed, match=r"^the arm's process died \(exit code 0\): see its log$"):
            arm.receive(30)
    assert members(arm.process.pid) == []
    assert not arm.scratch.exists()


def test_an_error_is_told_in_the_words_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("ValueError: of an earlier engine\n")
    with ArmProcess(log) as arm, pytest.raises(ArmFailed, match=r"^KeyError: 'settings'$") as caught:
        arm.ask({"do": "start"}, 30)  # without settings
    assert not caught.value.refused
    assert log.read_text().startswith("ValueError: of an earlier engine\nTraceback")


def test_an_arm_that_does_not_answer_in_time(tmp_path: Path) -> None:
    with ArmProcess(tmp_path / "log") as arm, pytest.raises(ArmFailed, match="no answer within 0 s; killed"):
        arm.receive(0.05)
    assert members(arm.process.pid) == []


def test_an_arm_whose_engine_died_has_some_seconds_to_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM may wait for ever for a core that was killed: here the arm is silent because it was asked nothing."""
    monkeypatch.setattr(process, "LAST_WORDS_S", 0.5)
    with ArmProcess(tmp_path / "log") as arm:
        core = subprocess.Popen(["VLLM::EngineCore", "60"], executable=shutil.which("sleep"))
        arm.engine = [each for each in psutil.Process().children() if process._of_engine(each)]
        assert [each.pid for each in arm.engine] == [core.pid]
        with pytest.raises(ArmFailed, match="no answer within 1 s"):
            arm.receive(1.2)
        core.kill()
        with pytest.raises(ArmFailed, match=r"^a process of the engine died: see its log$"):
            arm.receive(60)
        core.wait()


def test_an_arm_goes_when_its_sweep_does(tmp_path: Path) -> None:
    with ArmProcess(tmp_path / "log") as arm:
        until(lambda: len(members(arm.process.pid)) == 2)  # the keeper and the arm
        assert arm.process.stdin is not None
        arm.process.stdin.close()  # what the end of the sweep looks like
        until(lambda: not members(arm.process.pid))
        until(lambda: not arm.scratch.exists(), limit_s=3)  # in shared memory, where nobody else would look for it


@pytest.mark.parametrize(
    ("own", "extended"),
    [("a,b", "a,b,enginescope"), ("enginescope,a", "enginescope,a"), ("", "enginescope"), (None, None)],
)
def test_a_list_of_plugins_is_extended(own: str | None, extended: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_PLUGINS", raising=False)
    if own is not None:
        monkeypatch.setenv("VLLM_PLUGINS", own)
    assert process._environment(Path("/scratch")).get("VLLM_PLUGINS") == extended
    assert os.environ.get("VLLM_PLUGINS") == own
