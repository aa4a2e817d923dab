"""A child's process group: frozen, thawed, ended whole, and gone when its parent is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from probes.processes.child import ChildProcess
from probes.processes.group import members
from tests.shells import until

ROOT = Path(__file__).resolve().parents[3]
COUNTER = """
import sys, time
while True:
    with open(sys.argv[1], "a") as file:
        file.write(".")
    time.sleep(0.002)
"""
LEAVER = """
import os, sys
from pathlib import Path
from probes.processes.child import ChildProcess
scratch = Path(sys.argv[1], "scratch")
scratch.mkdir()
child = ChildProcess(["sh", "-c", "setsid sleep 600 & wait"], Path(sys.argv[1], "log"), os.environ, scratch=scratch)
while len(child.groups) < 2:
    child.find_groups()
child.freeze()
print(*child.groups, flush=True)
os.kill(os.getpid(), 9)
"""


def child(folder: Path, script: str, *arguments: str) -> ChildProcess:
    return ChildProcess(["sh", "-c", script, "sh", *arguments], folder / "log", os.environ)


def test_a_frozen_child_stands_still_until_it_is_thawed(tmp_path: Path) -> None:
    counters = [tmp_path / "one", tmp_path / "two"]
    script = '"$1" -ISc "$2" "$3" & "$1" -ISc "$2" "$4" & wait'
    counting = child(tmp_path, script, sys.executable, COUNTER, *map(str, counters))
    try:
        until(lambda: all(path.exists() for path in counters))
        counting.freeze()
        until(lambda: {one.status() for one in counting.members()} == {psutil.STATUS_STOPPED})
        before = [path.stat().st_size for path in counters]
        time.sleep(0.1)
        assert [path.stat().st_size for path in counters] == before
        counting.thaw()
        until(lambda: all(path.stat().st_size > size for path, size in zip(counters, before, strict=True)))
    finally:
        counting.end()
    assert counting.members() == [] and not counting.running


def test_all_groups_of_a_child_end_with_it(tmp_path: Path) -> None:
    shell = child(tmp_path, "setsid sleep 600 & wait")
    until(lambda: len(psutil.Process(shell.pid).children()) == 1)
    sleeper = psutil.Process(shell.pid).children()[0]
    until(lambda: os.getpgid(sleeper.pid) == sleeper.pid)
    shell.end()
    assert members(shell.pid, sleeper.pid) == []
    shell.end()  # a second time is no mistake


def test_only_its_own_lines_of_a_log_are_a_childs(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("of an earlier one\n")
    shell = child(tmp_path, "echo said; echo cried >&2")
    shell.process.wait()
    assert shell.logged() == "said\ncried\n"
    shell.end()


def test_a_child_goes_when_its_parent_is_killed(tmp_path: Path) -> None:
    """Both groups, frozen as they are, and the scratch folder."""
    done = subprocess.run([sys.executable, "-c", LEAVER, str(tmp_path)], cwd=ROOT, capture_output=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    groups = [int(word) for word in done.stdout.split()]
    assert len(groups) == 2
    until(lambda: not members(*groups))
    until(lambda: not (tmp_path / "scratch").exists())
