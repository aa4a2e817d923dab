"""A load run's folder: which run is continued, and when it says that it is complete."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import pytest

from offline.load import __main__ as command
from offline.load.folder import LoadFolder, newest_unfinished, read_load_run
from offline.load.preparation import PreparedLoad
from offline.load.runner import LoadRunner
from offline.traffic.pages import report
from probes.errors import EnginescopeError
from tests.offline.traffic.loadruns import a_load_run


def copy(run: Path, name: str, old: str = "", new: str = "") -> Path:
    """Another run beside `run`, of that name, whose `run.json` reads otherwise."""
    path = run.with_name(name)
    shutil.copytree(run, path)
    (path / "run.json").write_text((run / "run.json").read_text().replace(old, new, 1))
    return path


def test_the_run_to_continue_is_the_newest_that_can_be_read_and_is_not_complete(tmp_path: Path) -> None:
    complete = a_load_run(tmp_path, rates=(0.5,), requests=20, starts=1)
    unfinished = copy(complete, "20260102-000000-aaaaaa", '"state": "complete"', '"state": "interrupted"')
    copy(complete, "20260103-000000-aaaaaa")
    copy(complete, "20260104-000000-aaaaaa", "{", "")  # damaged
    copy(complete, "20260105-000000-aaaaaa", '"schema": 1', '"schema": 99')
    assert newest_unfinished(tmp_path) == unfinished


def test_a_run_whose_tables_could_not_be_written_is_not_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = a_load_run(tmp_path, rates=(0.5,), requests=20, starts=1)

    def refuse(*_: object) -> list[str]:
        raise EnginescopeError("no room")

    def prepared(_: argparse.Namespace) -> PreparedLoad:
        return PreparedLoad(LoadFolder(path), read_load_run(path), "org/m")

    monkeypatch.setattr(command, "prepare", prepared)
    monkeypatch.setattr(LoadRunner, "run", lambda _: None)
    monkeypatch.setattr(report, "write", refuse)
    with pytest.raises(EnginescopeError, match="no room"):
        command.measure(argparse.Namespace(on=None))
    assert newest_unfinished(tmp_path) == path
    monkeypatch.undo()
    monkeypatch.setattr(command, "prepare", prepared)
    monkeypatch.setattr(LoadRunner, "run", lambda _: None)
    assert command.measure(argparse.Namespace(on=None)) == 0
    assert read_load_run(path).state == "complete" and "; complete" in (path / "report.html").read_text()
