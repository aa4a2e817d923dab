"""A folder or module of the user's with the name of one of ours: what is hidden by what, and the way around it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PYTHON = sys.executable


def ran(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PYTHON, *words], cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("command", ["tracing.review", "offline.sweep", "notes.check"])
def test_a_hidden_room_is_named_with_what_hides_it(tmp_path: Path, command: str) -> None:
    (tmp_path / "probes").mkdir()
    (tmp_path / "probes" / "__init__.py").touch()
    done = ran(tmp_path, "-m", command, "--help")
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(
        f"error: {tmp_path}/probes/__init__.py stands in front of enginescope's own probes: rename it"
    )
    assert "python -P -m" in line


@pytest.mark.parametrize("module", ["tracing.py", "probes.py", "notes.py", "offline.py"])
def test_the_current_folder_can_be_left_out(tmp_path: Path, module: str) -> None:
    (tmp_path / module).touch()
    room = {"tracing.py": "tracing.review", "notes.py": "notes.check", "offline.py": "offline.sweep"}
    done = ran(tmp_path, "-P", "-m", room.get(module, "probes.doctor"), "--help")
    assert done.returncode == 0 and "usage:" in done.stdout


def test_an_import_in_a_program_says_the_same(tmp_path: Path) -> None:
    (tmp_path / "probes.py").touch()
    done = ran(tmp_path, "-c", "import tracing")
    assert done.returncode == 1
    assert f"ImportError: {tmp_path}/probes.py stands in front of enginescope's own probes" in done.stderr


def test_children_of_ours_leave_the_folder_out_too(tmp_path: Path) -> None:
    (tmp_path / "probes.py").touch()
    program = """
import os, pathlib
from probes.processes.child import ChildProcess
child = ChildProcess(["true"], pathlib.Path("log"), os.environ)
child.process.wait()
child._keeper.stdin.close()
print(child._keeper.wait())
"""
    done = ran(tmp_path, "-P", "-c", program)
    assert (done.stdout, done.stderr) == ("0\n", "")
