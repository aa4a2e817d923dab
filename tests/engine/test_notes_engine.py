"""The walkthrough's edges against the real engine, recorded here: all that can be measured are seen.

Three programs together pass every place: streams, a batch, and a cache too small.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.test_trace_engine import ROOT, record, traced

PROGRAMS = ("streams", "batch_then_kill", "preempted")
pytestmark = [pytest.mark.engine, pytest.mark.slow]


def test_every_edge_is_seen_in_the_claimed_role_thread_and_order(tmp_path: Path) -> None:
    words = []
    for name in PROGRAMS:
        record(tmp_path / name, *traced(name))
        words += ["--trace", str(tmp_path / name)]
    command = [sys.executable, "-m", "notes.check", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "contradicted" not in done.stdout and "not passed" not in done.stdout
