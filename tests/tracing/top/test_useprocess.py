"""What the time goes into, worked out in a process of its own while the looks go on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from enginescope_plugin import TRACE
from probes.errors import EnginescopeError
from tests.tracing.attach.standingprocess import ROOT, counting, folder_of
from tracing.top import __main__ as top
from tracing.top import useprocess
from tracing.top.useprocess import LAST, NOTHING, PacedUse, UseProcess

MOST_S = 120.0  # beside other work on all cores
LOOKING = [sys.executable, "-m", "tracing.top"]


def working_for(pid: int) -> psutil.Process:
    """The process that works it out for another one."""
    [child] = (each for each in psutil.Process(pid).children() if "useprocess" in " ".join(each.cmdline()))
    return child


def test_something_is_known_after_a_while(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, standby=False)
    with counting(folder, pause_s=0.01), UseProcess(folder) as process:
        assert process.latest() == NOTHING
        until_s = time.monotonic() + MOST_S
        while process.latest() == NOTHING and time.monotonic() < until_s:
            time.sleep(0.05)
        assert process.latest().stages


def test_an_engine_that_writes_nothing_has_no_use_of_time(tmp_path: Path) -> None:
    assert PacedUse(folder_of(tmp_path, standby=True)).answer({}) == asdict(NOTHING)


def test_of_an_engine_that_writes_much_a_shorter_time_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path, standby=False)
    monkeypatch.setattr(useprocess, "PAUSES", 0)
    use = PacedUse(folder)
    with counting(folder, pause_s=0.01):
        use.answer({})
        assert use.seconds == pytest.approx(min(max(0.2, 0.2 / use.took_s), 5.0))
        monkeypatch.setattr(useprocess, "AFFORDED_S", 0.0)
        use.answer({})
    assert use.seconds == useprocess.SHORTEST_S


def test_where_it_dies_that_is_said(tmp_path: Path) -> None:
    with UseProcess(folder_of(tmp_path, standby=False)) as process:
        working_for(os.getpid()).kill()
        with pytest.raises(EnginescopeError, match=r"died \(exit code -9\)"):
            for _ in range(1000):
                process.latest()
                time.sleep(0.01)


@pytest.fixture
def looking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[str]]:
    """The command on a process that counts, after its first line."""
    folder = folder_of(tmp_path, standby=False)
    monkeypatch.setenv(TRACE, str(folder))
    with (
        counting(folder, pause_s=0.01) as process,
        subprocess.Popen([*LOOKING, str(process.pid)], cwd=ROOT, stdout=subprocess.PIPE, text=True) as command,
    ):
        assert command.stdout is not None and "steps/s" in command.stdout.readline()
        yield command
        command.kill()


def test_looks_come_after_the_engine_and_this_work_comes_last(looking: subprocess.Popen[str]) -> None:
    working = working_for(looking.pid)
    until_s = time.monotonic() + MOST_S
    while working.nice() != LAST and time.monotonic() < until_s:  # its libraries come first
        time.sleep(0.05)
    assert psutil.Process(looking.pid).nice() == min(os.nice(0) + top.BEHIND, LAST)
    assert working.nice() == LAST
    looking.terminate()
    assert looking.wait(MOST_S) == 0
    assert not working.is_running()


def test_it_ends_with_who_asks(looking: subprocess.Popen[str]) -> None:
    working = working_for(looking.pid)
    looking.kill()
    _, alive = psutil.wait_procs([working], timeout=MOST_S)
    assert alive == []
