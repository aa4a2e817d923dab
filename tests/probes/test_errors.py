"""How a command ends, whatever it was doing when it was interrupted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INTERRUPTED_TEXT = """
from probes.errors import run_main

def main() -> int:
    exec("import signal; signal.raise_signal(signal.SIGINT)")  # as the text that a dataclass is made of
    return 0

run_main(main)
"""
FULL = """
from probes.errors import EnginescopeError, run_main

def main() -> int:
    print("a few words, which stay in the buffer")
    raise EnginescopeError("the rest is not known")

run_main(main)
"""


def test_a_failure_on_a_full_standard_output_has_its_own_code(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(FULL)
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "failing"]
        environ = {"PYTHONPATH": str(ROOT)}
        ended = subprocess.run(command, cwd=tmp_path, env=environ, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (ended.returncode, ended.stderr) == (1, "error: the rest is not known\n")


def test_a_help_that_a_full_disk_does_not_take_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "probes.machine", "--help"]
        ended = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (ended.returncode, ended.stderr) == (1, "error: cannot write the output: No space left on device\n")


def test_an_interrupt_within_a_text_that_runs_ends_with_130_and_not_by_a_signal(tmp_path: Path) -> None:
    (tmp_path / "interrupted.py").write_text(INTERRUPTED_TEXT)
    command = [sys.executable, "-m", "interrupted"]
    ended = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (130, "interrupted\n")
