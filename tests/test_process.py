"""The reason in an engine's log, and real process groups: frozen, thawed, and killed whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from offline import process
from offline.process import ArmFailed, ArmProcess, end_group, first_reason, members

REFUSED = """\
INFO 11-21 03:46:20 [config.py:12] Using max model len 128
(EngineCore pid=5952) ERROR 11-21 03:46:24 [core.py:1099] EngineCore failed to start.
(EngineCore pid=5952) ERROR 11-21 03:46:24 [core.py:1099] Traceback (most recent call last):
(EngineCore pid=5952) ERROR 11-21 03:46:24 [core.py:1099]   File "/v/core.py", line 88, in run_engine_core
(EngineCore pid=5952) ERROR 11-21 03:46:24 [core.py:1099]     raise ValueError(f"No common block size for {size}")
(EngineCore pid=5952) ERROR 11-21 03:46:24 [core.py:1099] ValueError: No common block size for 16 (CPU_ATTN: \
[MultipleOf(32)]).
(EngineCore pid=5952) Process EngineCore:
(EngineCore pid=5952) Traceback (most recent call last):
(EngineCore pid=5952) ValueError: No common block size for 16 (CPU_ATTN: [MultipleOf(32)]).
Traceback (most recent call last):
  File "/v/arm.py", line 88, in serve
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""
WORKER = """\
(Worker pid=77) ERROR 11-21 03:46:24 [multiproc_executor.py:800] WorkerProc failed to start.
(Worker pid=77) ERROR 11-21 03:46:24 [multiproc_executor.py:800] Traceback (most recent call last):
(Worker pid=77) ERROR 11-21 03:46:24 [multiproc_executor.py:800] torch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB
(EngineCore pid=70) ERROR 11-21 03:46:25 [core.py:1099] Exception: WorkerProc initialization failed due to an exception
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}
"""
PYDANTIC = """\
Traceback (most recent call last):
  File "/v/arm.py", line 30, in start
pydantic_core._pydantic_core.ValidationError: 1 validation error for CacheConfig
  Value error, kv_cache_memory_bytes must be positive [type=value_error, input_value=ArgsKwargs(()), input_type=X]
    For further information visit https://errors.pydantic.dev/2.12/v/value_error
"""
SAFETENSORS = """\
(Worker pid=8) ERROR 11-21 03:46:24 [multiproc_executor.py:800]     with safe_open(st_file, framework="pt") as f:
(Worker pid=8) ERROR 11-21 03:46:24 [multiproc_executor.py:800]          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
(Worker pid=8) ERROR 11-21 03:46:24 [multiproc_executor.py:800] safetensors_rust.SafetensorError: Error while \
deserializing header: incomplete metadata, file not fully covered
"""


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (REFUSED, "ValueError: No common block size for 16 (CPU_ATTN: [MultipleOf(32)])."),
        (WORKER, "OutOfMemoryError: CUDA out of memory. Tried 2 GiB"),
        (
            SAFETENSORS,
            "SafetensorError: Error while deserializing header: incomplete metadata, file not fully covered",
        ),
        ("KeyboardInterrupt\nSystemExit: 1\n", None),
        ("AssertionError\nRuntimeError: the cause\n", "RuntimeError: the cause"),
        ("an Error: in a sentence\nINFO 11-21 03:46:24 [a.py:1] no ValueError: here\n", None),
        ("RuntimeError: Engine core initialization failed. See root cause above.\n", None),
        ("", None),
    ],
)
def test_the_first_reason_of_a_log(log: str, reason: str | None) -> None:
    assert first_reason(log) == reason


def test_a_validation_error_says_itself_on_the_next_line() -> None:
    reason = first_reason(PYDANTIC)
    assert reason is not None
    assert reason.startswith(
        "ValidationError: 1 validation error for CacheConfig Value error, kv_cache_memory_bytes must be positive"
    )


def test_a_validation_error_does_not_send_its_reader_to_the_manual() -> None:
    assert "errors.pydantic.dev" not in (first_reason(PYDANTIC) or "")


def test_a_reason_has_an_end() -> None:
    assert len(first_reason("ValueError: " + "x" * 9999) or "") == 500


def until(condition: Callable[[], Any], limit_s: float = 10.0) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def group() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts shells that lead process groups of their own; none outlives the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(script: str, *arguments: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(["sh", "-c", script, "sh", *arguments], start_new_session=True))
        return started[-1]

    yield start
    for shell in started:
        end_group(shell.pid)
        shell.wait()


Group = Callable[..., subprocess.Popen[bytes]]


def test_a_group_is_killed_whole_and_no_other(group: Group) -> None:
    ours, other = (group("sleep 60 & sleep 60 & wait") for _ in range(2))
    until(lambda: len(members(ours.pid)) == 3 and len(members(other.pid)) == 3)
    end_group(ours.pid)
    assert members(ours.pid) == []
    assert ours.wait(5) == -9
    assert len(members(other.pid)) == 3 and other.poll() is None


def test_a_group_that_ignores_signals_is_killed_too(group: Group, tmp_path: Path) -> None:
    shell = group("trap '' TERM INT HUP; touch $1; sleep 60; sleep 60", str(tmp_path / "ready"))
    until((tmp_path / "ready").exists)
    end_group(shell.pid)
    assert members(shell.pid) == []


def test_a_group_that_is_gone_needs_no_killing(group: Group) -> None:
    shell = group("exit 3")
    assert shell.wait(5) == 3
    before = time.monotonic()
    end_group(shell.pid)
    assert time.monotonic() - before < 1


# Cleans up once the one that feeds it is gone, as Python's resource tracker does.
TRACKER = "import sys; sys.stdin.read(); open(sys.argv[2], 'w').write('unlinked')"


def test_a_resource_tracker_cleans_up_after_the_others(group: Group, tmp_path: Path) -> None:
    script = 'sleep 60 | "$1" -ISc "$2" resource_tracker "$3"'
    shell = group(script, sys.executable, TRACKER, str(tmp_path / "cleaned"))
    until(lambda: any("resource_tracker" in one.cmdline() for one in members(shell.pid)))
    time.sleep(0.1)
    end_group(shell.pid)
    assert (tmp_path / "cleaned").read_text() == "unlinked"


def test_a_resource_tracker_that_hangs_is_killed(group: Group, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "TRACKER_GRACE_S", 0.2)
    shell = group("\"$1\" -ISc 'import time; time.sleep(60)' resource_tracker; true", sys.executable)
    until(lambda: any("resource_tracker" in one.cmdline() for one in members(shell.pid)))
    end_group(shell.pid)
    assert members(shell.pid) == []


COUNTER = """
import sys, time
while True:
    with open(sys.argv[1], "a") as file:
        file.write(".")
    time.sleep(0.002)
"""


def test_a_frozen_group_stands_still_until_it_is_thawed(group: Group, tmp_path: Path) -> None:
    counters = [tmp_path / "one", tmp_path / "two"]
    script = '"$1" -ISc "$2" "$3" & "$1" -ISc "$2" "$4" & wait'
    shell = group(script, sys.executable, COUNTER, *map(str, counters))
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
    ArmProcess.freeze(arm)
    end_group(shell.pid)  # a frozen one dies as well
    assert members(shell.pid) == []


# --- the arm itself, without an engine ---


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
