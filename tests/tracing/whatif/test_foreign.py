"""Engines that are not the command's own: a program that it starts, and one that runs already and may not be slowed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from enginescope_plugin import TRACE
from probes.errors import USAGE, EnginescopeError
from tests.tracing.attach.standingprocess import counting, folder_of
from tests.tracing.whatif.standinengine import ROOT
from tracing.events.delays import FILE, NOTHING
from tracing.whatif.__main__ import main
from tracing.whatif.engine.running import running_engine
from tracing.whatif.engine.started import started_engine

OPTIONS = ["--stages", "schedule", "--asleep", "--budget", "10", "--json"]
PROGRAM = [sys.executable, "-m", "tests.tracing.whatif.standinengine"]


def test_a_program_that_brings_its_load_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its eight streams are seen, and it has ended with the command."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(sys, "argv", ["whatif", *OPTIONS, "--", *PROGRAM, str(tmp_path)])
    assert main() == 0
    out, err = capsys.readouterr()
    [schedule] = json.loads(out)["stages"]
    assert json.loads(out)["streams"] == 8 and schedule["slope"] > 0.5 and schedule["lo"] > 0
    assert "8 streams; " in err
    assert not (tmp_path / "standing").exists()
    left = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert not [words for words in left if any(str(tmp_path) in word for word in words)]


def test_a_program_that_does_not_start_an_engine_gives_its_reason(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "raise ValueError('no such model')"]
    with (
        pytest.raises(EnginescopeError, match="the engine did not start: ValueError: no such model"),
        started_engine(words, {}, tmp_path / "log"),
    ):
        raise AssertionError("nothing to measure")


def test_a_program_that_is_not_there_is_bad_usage(tmp_path: Path) -> None:
    with (
        pytest.raises(EnginescopeError, match="cannot run 'no-such-program'") as refused,
        started_engine(["no-such-program"], {}, tmp_path / "log"),
    ):
        raise AssertionError("nothing to measure")
    assert refused.value.code == USAGE


def test_a_running_engine_that_stands_by_is_measured_with_leave_alone(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, standby=True)
    (folder / FILE).write_bytes(NOTHING)
    with counting(folder) as process:
        with pytest.raises(EnginescopeError, match="--yes-slow-it-down permits that") as refused:
            running_engine(str(process.pid), leave=False)
        assert refused.value.code == USAGE
        assert running_engine(str(process.pid), leave=True).folder == folder
    assert (folder / FILE).read_bytes() == NOTHING


def test_an_engine_that_keeps_a_ring_for_others_is_refused(tmp_path: Path) -> None:
    with (
        counting(folder_of(tmp_path, standby=False)) as process,
        pytest.raises(EnginescopeError, match=f"process {process.pid} is not in standby: start it with ENGINESCOPE="),
    ):
        running_engine(str(process.pid), leave=True)


def test_a_process_that_is_no_engine_is_refused() -> None:
    environment = {name: value for name, value in os.environ.items() if name != TRACE}
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=environment) as process:
        time.sleep(0.1)
        with pytest.raises(EnginescopeError, match=f"process {process.pid} is not in standby"):
            running_engine(str(process.pid), leave=True)
        process.kill()
