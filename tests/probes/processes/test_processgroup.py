"""Real process groups are killed whole, and nothing that they share stays behind."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
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


def test_a_resource_tracker_that_another_group_feeds_cleans_up_too(group: Start, tmp_path: Path) -> None:
    """nsys gives what it runs a session of its own."""
    pipe, cleaned = tmp_path / "pipe", tmp_path / "cleaned"
    os.mkfifo(pipe)
    tracking = group('"$1" -ISc "$2" resource_tracker "$3" < "$4"', sys.executable, TRACKER, str(cleaned), str(pipe))
    feeding = group('exec sleep 60 > "$1"', str(pipe))
    until(lambda: any("resource_tracker" in one.cmdline() for one in members(tracking.pid)))
    time.sleep(0.1)
    end_group(tracking.pid, feeding.pid)
    assert cleaned.read_text() == "unlinked"


@dataclass
class SlowlyDying:
    """A process that takes `rounds` looks to be gone once it was killed."""

    name: str
    rounds: int
    pid: int = 0
    killed: bool = False

    def cmdline(self) -> list[str]:
        return [self.name]

    def kill(self) -> None:
        self.killed = True

    def resume(self) -> None:
        pass

    def lives(self) -> bool:
        self.rounds -= 1
        return self.rounds >= 0


def test_a_resource_tracker_has_its_time_after_the_last_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine takes seconds to give its memory back; the tracker then only begins to clean up."""
    engine, tracker = SlowlyDying("engine", rounds=12), SlowlyDying("resource_tracker", rounds=14)
    monkeypatch.setattr(processgroup, "TRACKER_GRACE_S", 0.3)
    monkeypatch.setattr(processgroup, "members", lambda *_: [one for one in (engine, tracker) if one.lives()])
    end_group(1)
    assert (engine.killed, tracker.killed) == (True, False)


def test_a_resource_tracker_that_hangs_is_killed(group: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processgroup, "TRACKER_GRACE_S", 0.2)
    shell = group("\"$1\" -ISc 'import time; time.sleep(60)' resource_tracker; true", sys.executable)
    until(lambda: any("resource_tracker" in one.cmdline() for one in members(shell.pid)))
    end_group(shell.pid)
    assert members(shell.pid) == []
