"""The end of a recording: engines that outlive the command, and commands that cannot be started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tracing.record import watched

ROOT = Path(__file__).resolve().parents[2]


def test_a_signal_cuts_the_wait_for_an_engine_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen(["sleep", "60"]) as engine:
        said = {"pid": engine.pid, "serves": ["core", "core input"]}
        (tmp_path / f"process-{engine.pid}.json").write_text(json.dumps(said))
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
        begin = time.monotonic()
        assert watched.linger(tmp_path) == [f"core {engine.pid}"]
        assert time.monotonic() - begin < watched.LINGER_S
        assert f"waiting up to 10 s for core {engine.pid}" in capsys.readouterr().err
        engine.kill()


def test_a_command_that_cannot_be_started_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tracing.record", "--out", str(tmp_path / "t"), "--", "no-such-program"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "cannot run 'no-such-program'" in done.stderr
    assert not list(tmp_path.iterdir())
