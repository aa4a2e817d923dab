"""What the time goes into, worked out in a process of its own while the looks go on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from enginescope_plugin import TRACE
from probes.errors import EnginescopeError
from tests.tracing.attach.standingprocess import ROOT, counting, folder_of
from tracing.top import __main__ as top
from tracing.top.useprocess import LAST, NOTHING, UseProcess

LOOKING = [sys.executable, "-m", "tracing.top"]


def only_child() -> psutil.Process:
    [child] = psutil.Process().children()
    return child


def test_something_is_known_after_a_while_and_nothing_waits_for_it(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, standby=False)
    with counting(folder, pause_s=0.01), UseProcess(folder) as process:
        assert process.latest() == NOTHING
        until_s = time.monotonic() + 60
        while process.latest() == NOTHING and time.monotonic() < until_s:
            time.sleep(0.05)
        assert process.latest().stages


def test_an_engine_that_writes_nothing_has_no_use_of_time(tmp_path: Path) -> None:
    with UseProcess(folder_of(tmp_path, standby=True)) as process:
        time.sleep(3.0)
        assert process.latest() == NOTHING


def test_where_it_dies_that_is_said(tmp_path: Path) -> None:
    with UseProcess(folder_of(tmp_path, standby=False)) as process:
        only_child().kill()
        with pytest.raises(EnginescopeError, match=r"died \(exit code -9\)"):
            for _ in range(1000):
                process.latest()
                time.sleep(0.01)


@contextmanager
def looking_at_one(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """The command on a process that counts."""
    with (
        counting(folder, pause_s=0.01) as process,
        subprocess.Popen([*LOOKING, str(process.pid)], cwd=ROOT, stdout=subprocess.PIPE, text=True) as looking,
    ):
        yield looking


def test_looks_come_after_the_engine_and_this_work_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path, standby=False)
    monkeypatch.setenv(TRACE, str(folder))
    with looking_at_one(folder) as looking:
        assert looking.stdout is not None and "steps/s" in looking.stdout.readline()
        [working] = psutil.Process(looking.pid).children()
        until_s = time.monotonic() + 30
        while working.nice() != LAST and time.monotonic() < until_s:  # its libraries come first
            time.sleep(0.05)
        priorities = psutil.Process(looking.pid).nice(), working.nice()
        looking.terminate()
    assert priorities == (min(os.nice(0) + top.BEHIND, LAST), LAST)
    assert looking.returncode == 0
    assert not working.is_running()


def test_it_ends_with_who_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path, standby=False)
    monkeypatch.setenv(TRACE, str(folder))
    with looking_at_one(folder) as looking:
        assert looking.stdout is not None and "steps/s" in looking.stdout.readline()
        [working] = psutil.Process(looking.pid).children()
        looking.kill()
        _, alive = psutil.wait_procs([working], timeout=30)
    assert alive == []
