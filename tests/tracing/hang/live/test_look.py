"""The whole live way, on processes that stand in for an engine's: found by address, looked at twice, explained."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from probes.errors import EnginescopeError
from probes.metrics.endpoint import Endpoint
from probes.processes.enginegroup import Member
from probes.serve.ports import free_port
from tests.shells import until
from tests.tracing.hang.live import standin
from tracing.hang.doing import HangCause
from tracing.hang.explanation import Explanation
from tracing.hang.live import look, stacks

START_S, PROCESSES = 20.0, 4
Group = tuple[list[Member], Endpoint | None]


@contextlib.contextmanager
def engine(kind: str) -> Iterator[Group]:
    """A stand-in of this kind, once all its processes stand where they will stay."""
    port = free_port()
    command = [sys.executable, str(Path(standin.__file__)), kind, "openai.api_server", "--port", str(port)]
    with subprocess.Popen(command) as process:
        try:
            yield settled(port)
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def settled(port: int) -> Group:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(EnginescopeError):
            group, at = look.group_at(f"127.0.0.1:{port}")
            if len(group) == PROCESSES and all(stands(member) for member in group):
                return group, at
        time.sleep(0.1)
    pytest.fail("the stand-in did not start, or py-spy may not look into it")


def stands(member: Member) -> bool:
    """Whether a process has come to the function that it stays in, and its threads have started."""
    names = {frame.name for thread in stacks.dumped(member.pid, "").threads for frame in thread.python}
    wanted = {"core": "process_input_sockets", "worker": "worker_busy_loop", "front end": "run_forever"}
    return any(name.endswith(wanted[member.role]) for name in names)


def explained(group: Group, seconds: float = 0.4) -> Explanation:
    time.sleep(0.3)  # a lock's holder needs a tenth of a second
    situation, explanation = look.explained(*group, seconds)
    assert not situation.problems
    return explanation


@pytest.mark.parametrize(
    ("kind", "cause", "process", "words"),
    [
        (standin.IDLE, HangCause.IDLE, "the engine", ""),
        (standin.LOOP, HangCause.PYTHON, "worker Worker_TP0", "works in count"),
        (standin.LOCK, HangCause.LOCK, "worker Worker_TP0", "held by thread keeper in keep"),
        (standin.ASLEEP, HangCause.PYTHON, "worker Worker_TP1", "sleeps in rest"),
        (standin.LOST, HangCause.LOST, "worker Worker_TP0", "from core to worker is lost"),
        (standin.SLOW, HangCause.SLOW, "the engine", "generated tokens"),
        (standin.DEAD_OUTPUT_THREAD, HangCause.ENDED, "core EngineCore", "no output thread"),
    ],
)
def test_each_kind_is_named(kind: str, cause: HangCause, process: str, words: str) -> None:
    with engine(kind) as group:
        answer = explained(group).answers[0]
    assert (answer.cause, words in answer.text) == (cause, True), answer
    assert answer.process.startswith(process)


def test_a_stopped_worker_is_named_and_stays_stopped() -> None:
    with engine(standin.STOPPED) as (group, at):
        worker = next(member for member in group if member.name == "Worker_TP1")
        os.kill(worker.pid, signal.SIGSTOP)
        explanation = explained((group, at))
        after = psutil.Process(worker.pid).status()
    assert (explanation.answers[0].cause, after) == (HangCause.STOPPED, psutil.STATUS_STOPPED)
    assert explanation.answers[0].process == f"worker Worker_TP1 ({worker.pid})"
    assert [link.awaited for link in explanation.chain][-1] == f"worker Worker_TP1 ({worker.pid})"


def test_a_worker_that_was_killed_is_named() -> None:
    with engine(standin.ASLEEP) as (group, _):
        worker = next(member for member in group if member.name == "Worker_TP1")
        os.kill(worker.pid, signal.SIGKILL)
        until(lambda: psutil.Process(worker.pid).status() == psutil.STATUS_ZOMBIE)
        answer = explained(look.group_at(str(group[0].pid))).answers[0]
    assert (answer.cause, answer.process) == (HangCause.ENDED, f"worker Worker_TP ({worker.pid})")


def test_a_blocked_event_loop_is_named() -> None:
    with engine(standin.EVENT_LOOP) as (group, at), socket.socket() as client:
        assert at is not None
        client.connect((at.host, at.port))
        client.sendall(b"GET /block HTTP/1.1\r\n\r\n")
        answer = explained((group, at)).answers[0]
    assert (answer.cause, answer.apart) == (HangCause.EVENT_LOOP, "")
    assert answer.process.startswith("front end")
    assert "its event loop from rest" in answer.text or "its event loop from ask_another_server" in answer.text
