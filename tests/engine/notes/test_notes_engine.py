"""The walkthrough's edges against the real engine, recorded here: all that can be measured are seen.

Three programs together pass every place: streams, a batch, and a cache too small.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.engine.recording import LIMIT_S, ROOT, Trace

pytestmark = [pytest.mark.engine, pytest.mark.slow(170)]


def test_every_edge_is_seen_in_the_claimed_role_thread_and_order(
    streams: Trace, batch: Trace, preempted: Trace
) -> None:
    traces = [word for trace in (streams, batch, preempted) for word in ("--trace", str(trace.folder))]
    command = [sys.executable, "-m", "notes.check", *traces]
    completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert "contradicted" not in completed.stdout and "not passed" not in completed.stdout
