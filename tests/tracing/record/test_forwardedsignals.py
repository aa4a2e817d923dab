"""A signal reaches the recorded command once, whoever it was sent to: real processes, one of them in a terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from probes.processes.group import end_group
from tests.shells import until

ROOT = Path(__file__).resolve().parents[3]
RUN = "import os, sys; from tracing.record.command import run; sys.exit(run(sys.argv[1:], dict(os.environ)))"
# Writes a letter for each signal, and goes on; a second one would be written within the second that it stays.
COUNT = """
import signal, sys, time
file = open(sys.argv[1], "ab", buffering=0)
got = []
def note(number, _):
    got.append(number)
    file.write(signal.Signals(number).name.encode() + b" ")
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, note)
file.write(b"ready ")
while not got:
    time.sleep(0.01)
time.sleep(1)
"""
LIMIT_S = 30.0
Send = Callable[[int, int], None]


def words(folder: Path) -> list[str]:
    """The command as the recorder runs it."""
    return [sys.executable, "-c", RUN, sys.executable, "-c", COUNT, str(folder / "signals")]


def is_ready(pid: int, folder: Path) -> bool:
    """Whether the recorder handles signals, and the command too."""
    caught = Path(f"/proc/{pid}/status").read_text().partition("SigCgt:")[2].split()[0]
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1) and "ready" in written(folder)


def written(folder: Path) -> str:
    file = folder / "signals"
    return file.read_text() if file.exists() else ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("send", [os.kill, os.killpg])
def test_once_without_a_terminal(tmp_path: Path, send: Send, number: signal.Signals) -> None:
    """`kill PID`, and what `timeout` or a CI runner does to the group."""
    recorder = subprocess.Popen(words(tmp_path), cwd=ROOT, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        until(lambda: is_ready(recorder.pid, tmp_path), LIMIT_S)
        send(recorder.pid, number)
        assert recorder.wait(LIMIT_S) == 0
    finally:
        end_group(recorder.pid)
    assert written(tmp_path) == f"ready {number.name} "


@pytest.mark.parametrize("stdin", ["a terminal", "no terminal"])
@pytest.mark.parametrize("press", [True, False])
def test_once_in_the_foreground_of_a_terminal(tmp_path: Path, stdin: str, press: bool) -> None:
    """Ctrl-C, which the terminal sends to the whole group, and `kill -INT PID` from elsewhere."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        if stdin == "no terminal":
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.execv(sys.executable, words(tmp_path))
    try:
        until(lambda: is_ready(pid, tmp_path), LIMIT_S)
        os.write(terminal, b"\x03") if press else os.kill(pid, signal.SIGINT)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        end_group(pid)
        os.close(terminal)
    assert written(tmp_path) == "ready SIGINT "
