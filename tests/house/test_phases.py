"""`make test` runs three phases: all run whatever the first gives, and one without tests is no failure."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import TRACE_READERS
from tests.phases import ENGINES, exit_code

ROOT = Path(__file__).resolve().parents[2]
PLAIN, ENGINE = "tests without an engine", "tests on an engine"
ALONE = "tests on an engine that has the machine to itself"
ONE_PLUGIN = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "-p xdist.plugin"}  # others take time to load
TESTS = """
import os, pytest

def test_plain():
    alone = "PYTEST_XDIST_WORKER" not in os.environ
    assert os.environ["PLAIN"] == "right" or os.environ["PLAIN"] == "right when alone" and alone

@pytest.mark.engine
def test_engine():
    assert os.environ["PYTEST_XDIST_WORKER"] == "gw0"

@pytest.mark.engine
@pytest.mark.alone
def test_alone():
    assert "PYTEST_XDIST_WORKER" not in os.environ
"""


def run_phases(folder: Path, *words: str, plain: str = "right") -> tuple[int, list[str]]:
    """The three phases on the three tests in `folder`: exit code, and the lines of the output."""
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  engine: starts one\n  alone: has the machine\n")
    (folder / "test_three.py").write_text(TESTS)
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    completed = subprocess.run(
        [sys.executable, "-m", "tests.phases", "-n", "1", *words],
        cwd=folder,
        env=own | ONE_PLUGIN | {"PYTHONPATH": str(ROOT), "PLAIN": plain},
        capture_output=True,
        text=True,
    )
    return completed.returncode, completed.stdout.splitlines()


def names(lines: list[str]) -> list[str]:
    """The last three lines without the times."""
    return [line.partition(" (")[0] for line in lines[-3:]]


def test_the_other_phases_run_when_the_first_fails(tmp_path: Path) -> None:
    code, lines = run_phases(tmp_path, plain="wrong")
    assert names(lines) == [f"{PLAIN}: FAILED", f"{ENGINE}: passed", f"{ALONE}: passed"]
    assert code == 1 and sum("1 passed" in line for line in lines) == 2


def test_what_passes_only_when_it_is_run_again_alone_is_named(tmp_path: Path) -> None:
    code, lines = run_phases(tmp_path, plain="right when alone")
    assert names(lines)[0] == f"{PLAIN}: passed, but some FAILED at first and passed alone: see above"
    assert code == 0 and f"== {PLAIN}: what failed, once more and alone" in lines
    assert any(line.startswith("FAILED test_three.py::test_plain") for line in lines)
    assert any(line.startswith("test_three.py::test_plain PASSED") for line in lines)


def test_arguments_select_in_all_phases(tmp_path: Path) -> None:
    code, lines = run_phases(tmp_path, "-k", "plain", "-m", "not slow")
    assert names(lines) == [f"{PLAIN}: passed", f"{ENGINE}: none selected", f"{ALONE}: none selected"]
    assert code == 0


def test_a_usage_error_is_reported_once(tmp_path: Path) -> None:
    code, lines = run_phases(tmp_path, "--bogus")
    assert code == pytest.ExitCode.USAGE_ERROR
    assert [line for line in lines if line.startswith("==")] == [f"== {PLAIN}"]


def test_all_tests_on_an_engine_are_in_the_folder_that_their_phases_collect() -> None:
    files = [file for file in (ROOT / "tests").rglob("test_*.py") if "pytest.mark.engine" in file.read_text()]
    assert {file for file in files if not file.is_relative_to(ROOT / ENGINES)} == {Path(__file__)}
    # Without the mark, an engine would be started in the middle of the tests that run in parallel.
    unmarked = set((ROOT / ENGINES).rglob("test_*.py")) - set(files)
    assert not unmarked


def test_files_that_read_the_same_traces_are_run_by_one_process() -> None:
    traces = re.compile(r"\b(batch|streams|preempted|one_process): Trace\b")
    files = [file for file in (ROOT / ENGINES).rglob("test_*.py") if traces.search(file.read_text())]
    assert sorted(file.name for file in files) == sorted(TRACE_READERS)


@pytest.mark.parametrize(
    ("codes", "code"),
    [([0, 0], 0), ([5, 0], 0), ([0, 5], 0), ([5, 5], 5), ([0, 1], 1), ([3, 1], 3), ([5, 1], 1), ([0, 5, 1], 1)],
)
def test_the_exit_code_of_all_phases(codes: list[int], code: int) -> None:
    assert exit_code(codes) == code
