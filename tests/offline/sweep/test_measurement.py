"""How a sweep ends that is interrupted after its last trial."""

from __future__ import annotations

from pathlib import Path

import pytest

from offline.page import page
from offline.page.reported import ReportedRun
from offline.records.run import read_run
from offline.records.runfolder import RunFolder
from offline.spec.grid import arms
from offline.spec.models import Models
from offline.spec.plan import Plan
from offline.sweep import measurement
from offline.sweep.preparation import PreparedRun
from tests.offline.reports import SPEC
from tests.offline.runs import a_run


def test_an_interrupt_while_the_tables_are_written_says_how_to_continue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write, states = page.write, list[str]()

    def interrupted(path: Path, report: ReportedRun) -> Path:
        states.append(report.record.state)
        if len(states) == 1:
            raise KeyboardInterrupt
        return write(path, report)

    record = a_run(spec=SPEC)
    folder = RunFolder.create(tmp_path, record)
    run = PreparedRun(folder, Plan(record.spec, arms(record.spec, {}), alive=1, seconds=0.0), Models({"m": "m"}))
    monkeypatch.setattr(measurement, "run_missing", lambda *_: False)
    monkeypatch.setattr(page, "write", interrupted)
    assert measurement.measure(run, time_limit_s=1.0, every_row=True) == 130
    assert states == ["complete", "interrupted"] and read_run(folder.path).state == "interrupted"
    assert f"python -m offline.sweep --resume {folder.path}" in capsys.readouterr().out
    assert (folder.path / "report.html").exists()
