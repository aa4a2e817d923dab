"""`python -m tracing.kept` on folders in which nothing was kept."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from probes.errors import USAGE, EnginescopeError
from tests.tracing.traces import TraceWriter
from tracing.kept import __main__ as command
from tracing.kept.keeping import DRAFT


def listed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["kept", str(folder)])
    return command.main()


def test_a_watch_that_has_met_nothing_so_far_has_kept_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert listed(tmp_path, monkeypatch) == 0
        assert "holds nothing that was kept" in capsys.readouterr().out.replace("\n", " ")
        (tmp_path / f"20260101-000000-000000000{DRAFT}").mkdir(exist_ok=True)  # it writes the first one now


def test_a_trace_is_reviewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "with space"
    TraceWriter(folder, 2, ["core"]).close()
    with pytest.raises(EnginescopeError) as error:
        listed(folder, monkeypatch)
    line = f"{folder} is not a folder of --keep; it is a trace: python -m tracing.review '{folder}'"
    assert (str(error.value), error.value.code) == (line, USAGE)


def test_any_other_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(EnginescopeError, match="is not a folder of --keep: it holds other files") as error:
        listed(tmp_path, monkeypatch)
    assert error.value.code == USAGE
