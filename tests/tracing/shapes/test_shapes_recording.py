"""One command records all shapes: how they are started, what it says meanwhile, and that one that fails stops none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.house.test_help import ROOT
from tests.tracing.tracerecords import recorded
from tracing.shapes import nursery, recording, table
from tracing.shapes.shape import SHAPES, Shape

THREE = [SHAPES[name] for name in ("cpu", "ngram", "tp2")]


def runs(failing: str = "") -> Callable[[str, Path], None]:
    """A way to run a shape that takes no time; one shape's program fails."""

    def run(name: str, folder: Path) -> None:
        folder.mkdir()
        recorded(folder, exit_code=1 if name == failing else 0, command=f"python -m tracing.demo --shape {name}")

    return run


def test_a_shape_that_fails_is_named_and_the_next_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recording, "run", runs(failing="ngram"))
    assert not recording.record_all(THREE, tmp_path, forked=False)
    assert capsys.readouterr().out.splitlines() == [
        "1 of 3: cpu, about 2 min left",
        "2 of 3: ngram, about 1 min left",
        f"ngram failed: see {tmp_path / 'ngram-log.txt'}",
        "3 of 3: tp2, about 1 min left",
    ]
    monkeypatch.setattr(recording, "run", runs())
    recording.record_all(THREE, tmp_path, forked=False)  # only what failed, whose folder goes first
    assert capsys.readouterr().out.splitlines() == [
        f"2 of 3 shapes are recorded in {tmp_path} already",
        "1 of 1: ngram, about 1 min left",
    ]
    assert all(recording.is_recorded(tmp_path / shape.name) for shape in THREE)


def test_nothing_is_forked_that_its_shape_would_spawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the tests ask for it, to save the time of the imports."""
    forked: list[str] = []

    def fork(shape: Shape, folder: Path, log: Path) -> bool:
        forked.append(shape.name)
        return False

    monkeypatch.setattr(recording, "run", runs())
    monkeypatch.setattr(recording.conversation, "import_engine", lambda: None)
    monkeypatch.setattr(nursery, "record", fork)
    recording.record_all(THREE, tmp_path, forked=False)
    assert forked == []
    recording.record_all([SHAPES["fork"], SHAPES["v2-tp2"]], tmp_path, forked=True)
    assert forked == ["fork"]


def test_a_folder_of_something_else_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "run", lambda name, folder: None)
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "mine.py").write_text("1")
    recording.record(SHAPES["server"], tmp_path / "server", forked=False)
    recorded(tmp_path / "server", exit_code=1, command="python mine.py")
    recording.record(SHAPES["server"], tmp_path / "server", forked=False)
    assert (tmp_path / "server" / "mine.py").exists()


def test_a_folder_of_something_else_stops_no_other_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where engines are forked, too."""
    monkeypatch.setattr(recording, "run", runs())
    monkeypatch.setattr(recording.conversation, "import_engine", lambda: None)
    (tmp_path / "fork").mkdir()
    (tmp_path / "fork" / "mine.py").write_text("1")
    recording.record_all([SHAPES["fork"], SHAPES["v2-tp2"]], tmp_path, forked=True)
    assert table.refusal(tmp_path / "fork").startswith(f"{tmp_path / 'fork'} ")
    assert recording.is_recorded(tmp_path / "v2-tp2")


def test_an_engine_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        recording,
        "OWN_PYTHON",
        [sys.executable, "-c", "print('OSError: tried again', flush=True); import time; time.sleep(99)"],
    )
    monkeypatch.setattr(recording, "LIMIT_S", 1.0)
    recording.run("cpu", tmp_path / "cpu")
    assert table.refusal(tmp_path / "cpu") == "TimeoutError: not ended after 1 s"


def test_a_page_that_cannot_be_written_is_told_before_the_first_engine(tmp_path: Path) -> None:
    words = ["cpu", "--out", str(tmp_path / "out"), "--write", str(tmp_path / "no" / "page.md")]
    command = [sys.executable, "-m", "tracing.shapes", *words]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2 and "there is no folder" in ended.stderr
    assert not (tmp_path / "out").exists()
