"""`tracing.top` on a process that stands in for an engine's."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from enginescope_plugin import TRACE
from probes.errors import EnginescopeError
from tests.tracing.attach.standingprocess import ROOT, counting, folder_of
from tracing.top import __main__ as top


def test_the_seconds_begin_with_the_first_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They had gone by before the libraries were there."""
    folder = folder_of(tmp_path, standby=False)
    monkeypatch.setenv(TRACE, str(folder))
    with counting(folder, pause_s=0.01) as process:
        command = [sys.executable, "-m", "tracing.top", str(process.pid), "--seconds", "0.1"]
        completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert completed.returncode == 0, completed.stderr
    assert len(completed.stdout.splitlines()) == 1 and "steps/s" in completed.stdout


def test_they_come_every_second_however_long_a_look_takes() -> None:
    begun_s, looks = time.monotonic(), []
    for now_s in top.seconds_until(begun_s + 3.0):
        looks.append(now_s - begun_s)
        time.sleep(0.4)
    assert len(looks) == 3 and all(second <= look < second + 1 for second, look in enumerate(looks, 1))


@pytest.mark.parametrize("seconds", ["0", "-1", "nan"])
def test_what_is_no_time(seconds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 0 it went on for ever."""
    monkeypatch.setattr(sys, "argv", ["top", "1", "--seconds", seconds])
    with pytest.raises(EnginescopeError, match="is no time"):
        top.main()
