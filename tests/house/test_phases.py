"""`make test` runs two phases: both run whatever the first gives, and one without tests is no failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.phases import exit_code

ROOT = Path(__file__).resolve().parents[2]
TESTS = """
import os, pytest

def test_plain():
    assert os.environ["PLAIN"] == "right"

@pytest.mark.engine
def test_engine():
    assert "PYTEST_XDIST_WORKER" not in os.environ
"""


def run_phases(folder: Path, *words: str, plain: str = "right") -> tuple[int, list[str]]:
    """The two phases on the two tests in `folder`: exit code, and the lines of the output."""
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = engine: starts one\n")
    (folder / "test_two.py").write_text(TESTS)
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    completed = subprocess.run(
        [sys.executable, "-m", "tests.phases", "-n", "1", *words],
        cwd=folder,
        env=own | {"PYTHONPATH": str(ROOT), "PLAIN": plain},
        capture_output=True,
        text=True,
    )
    return completed.returncode, completed.stdout.splitlines()


def names(lines: list[str]) -> list[str]:
    """The last two lines without the times."""
    return [line.partition(" (")[0] for line in lines[-2:]]


def test_the_second_phase_runs_when_the_first_fails(tmp_path: Path) -> None:
    code, lines = run_phases(tmp_path, plain="wrong")
    assert names(lines) == ["tests without an engine: FAILED", "tests on an engine: passed"]
    assert code == 1 and any("1 passed, 1 deselected" in line for line in lines)


def test_arguments_select_in_both_phases(tmp_path: Path) -> None:
    code, lines = run_phases(tmp_path, "-k", "plain", "-m", "not slow")
    assert names(lines) == ["tests without an engine: passed", "tests on an engine: none selected"]
    assert code == 0


def test_a_usage_error_is_reported_once(tmp_path: Path) -> None:
    code, lines = run_phases(tmp_path, "--bogus")
    assert code == pytest.ExitCode.USAGE_ERROR
    assert [line for line in lines if line.startswith("==")] == ["== tests without an engine"]


@pytest.mark.parametrize(
    ("codes", "code"), [([0, 0], 0), ([5, 0], 0), ([0, 5], 0), ([5, 5], 5), ([0, 1], 1), ([3, 1], 3), ([5, 1], 1)]
)
def test_the_exit_code_of_two_phases(codes: list[int], code: int) -> None:
    assert exit_code(codes) == code
