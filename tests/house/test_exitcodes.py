"""The same fault ends in the same exit code in every command: a path that is not there is bad usage, in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import installed_vllm

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = "/no/such/path"
MISSING_PATH = (
    f"offline.compare {NOWHERE} {NOWHERE}",
    f"offline.sweep --model {NOWHERE} --plan",
    f"offline.sweep --resume {NOWHERE}",
    f"offline.sweep --spec {NOWHERE}",
    f"offline.report {NOWHERE}",
    f"notes.build --vllm {NOWHERE}",
    f"notes.check --notes {NOWHERE}",
    f"notes.check --vllm {NOWHERE}",
    f"notes.measured {NOWHERE}",
    f"notes.port {NOWHERE} {NOWHERE}",
    f"notes.recorded {NOWHERE}",
    f"notes.study 1 {NOWHERE}",
    f"notes.tables {NOWHERE}",
    f"probes.batch --base-url http://127.0.0.1:9 --model m --output {NOWHERE}.out --input {NOWHERE}",
    f"probes.report --input {NOWHERE}",
    f"probes.serve --explain {NOWHERE}",
    f"tracing.nsys {NOWHERE}",
    f"tracing.pyspy {NOWHERE}",
    f"tracing.review {NOWHERE}",
    f"tracing.sites --vllm {NOWHERE}",
    f"tracing.torchsums {NOWHERE}",
    f"tracing.walk {NOWHERE}",
)


OTHER_FILE = (
    "notes.tables",
    "offline.report",
    "probes.report",
    "probes.serve --explain",
    "tracing.hang",
    "tracing.nsys",
    "tracing.pyspy",
    "tracing.review",
    "tracing.torchsums",
)


def ended(line: str) -> tuple[int, list[str]]:
    """The exit code of a command and its lines on standard error."""
    command = [sys.executable, "-m", *line.split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize("line", MISSING_PATH)
def test_a_path_that_is_not_there_is_bad_usage(line: str) -> None:
    code, words = ended(line)
    assert (code, len(words)) == (2, 1), words
    assert NOWHERE in words[0]


@pytest.mark.parametrize("command", OTHER_FILE)
def test_a_file_of_another_kind_is_bad_usage(command: str) -> None:
    code, words = ended(f"{command} LICENSE")
    assert (code, len(words)) == (2, 1), words
    assert "LICENSE" in words[0]


@pytest.mark.parametrize("command", ["notes.check", "notes.build"])
def test_a_trace_that_is_not_there_is_bad_usage(command: str) -> None:
    installed_vllm()
    code, words = ended(f"{command} --trace {NOWHERE}")
    assert code == 2 and NOWHERE in words[-1]
