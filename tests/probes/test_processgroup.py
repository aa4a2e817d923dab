"""Real process groups are killed whole, and nothing that they share stays behind."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from probes.processes import group as processgroup
from probes.processes.group import end_group, members
from tests.shells import Start, shells, until


@pytest.fixture
def group() -> Iterator[Start]:
    with shells() as start:
        yield start


def test_a_group_is_killed_whole_and_no_other(group: Start) -> None:
    ours, other = (group("sleep 60 & sleep 60 & wait") for _ in range(2))
    until(lambda: len(members(ours.pid)) == 3 and len(members(other.pid)) == 3)
    end_group(ours.pid)
    assert members(ours.pid) == []
    assert ours.wait(5) == -9
    assert len(members(other.pid)) == 3 and other.poll() is None


def test_a_group_that_ignores_signals_is_killed_too(group: Start, tmp_path: Path) -> None:
    shell = group("trap '' TERM INT HUP; touch $1; sleep 60; sleep 60", str(tmp_path / "ready"))
    until((tmp_path / "ready").exists)
    end_group(shell.pid)
    assert members(shell.pid) == []


def test_a_group_that_is_frozen_is_killed_too(group: Start) -> None:
    shell = group("sleep 60 & wait")
    until(lambda: len(members(shell.pid)) == 2)
    for process in members(shell.pid):
        process.suspend()
    end_group(shell.pid)
    assert shell.wait(5) == -signal.SIGKILL and members(shell.pid) == []


def test_the_members_of_several_groups(group: Start) -> None:
    one, other = (group("sleep 60 & wait") for _ in range(2))
    until(lambda: len(members(one.pid, other.pid)) == 4)
    assert {os.getpgid(process.pid) for process in members(one.pid, other.pid)} == {one.pid, other.pid}


def test_a_group_that_is_gone_needs_no_killing(group: Start) -> None:
    shell = group("exit 3")
    assert shell.wait(5) == 3
    before = time.monotonic()
    end_group(shell.pid)
    assert time.monotonic() - before < 1


# Cleans up once the one that feeds it is gone, as Python's resource tracker does.
TRACKER = "import sys; sys.stdin.read(); open(sys.argv[2], 'w').write('unlinked')"


def test_a_resource_tracker_cleans_up_after_the_others(group: Start, tmp_path: Path) -> None:
    script = 'sleep 60 | "$1" -ISc "$2" resource_tracker "$3"'
    shell = group(script, sys.executable, TRACKER, str(tmp_path / "cleaned"))
    until(lambda: any("resource_tracker" in one.cmdline() for one in members(shell.pid)))
    time.sleep(0.1)
    end_group(shell.pid)
    assert (tmp_path / "cleaned").read_text() == "unlinked"


def test_a_resource_tracker_that_hangs_is_killed(group: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processgroup, "TRACKER_GRACE_S", 0.2)
    shell = group("\"$1\" -ISc 'import time; time.sleep(60)' resource_tracker; true", sys.executable)
    until(lambda: any("resource_tracker" in one.cmdline() for one in members(shell.pid)))
    end_group(shell.pid)
    assert members(shell.pid) == []
