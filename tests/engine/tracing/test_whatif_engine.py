"""What-if on a real engine, started and loaded by the command: its stages are delayed, and it ends with the command."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import psutil
import pytest

from tracing.whatif.__main__ import main

NAMES = ["schedule", "work on device", "process outputs"]
OPTIONS = [
    "--shape",
    "one-gpu",
    "--device-ms",
    "5",
    "--streams",
    "4",
    "--stages",
    ",".join(NAMES),
    "--budget",
    "20",
    "--json",
]
pytestmark = [pytest.mark.engine, pytest.mark.slow(60)]


def test_stages_in_two_processes_and_on_a_pretend_device_are_delayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["whatif", *OPTIONS, "--page", str(tmp_path / "page.html")])
    assert main() == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert answer["streams"] == 4 and "4 streams; " in err
    assert [stage["stage"] for stage in answer["stages"]] == NAMES
    for stage in answer["stages"]:
        assert stage["calls_per_step"] == 1 and 0 < stage["time_ns"] < answer["step_ns"]
        assert all(size["achieved_ns"] >= 200_000 for size in stage["sizes"])
    assert (tmp_path / "page.html").read_text().count("<circle") == 3
    assert not psutil.Process().children(recursive=True)
