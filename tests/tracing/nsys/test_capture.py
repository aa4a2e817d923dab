"""Nsight Systems started: its flags, the GPUs that it does not see, and what leaves no report."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from probes.doctor.surroundings import Surroundings
from probes.machine import Gpu
from tests.tracing.nsys.nsysfiles import NsysWriter
from tracing.nsys import capture

ROOT = Path(__file__).resolve().parents[3]


def test_cuda_is_traced_by_graph_node_where_there_is_a_gpu() -> None:
    assert capture.flags(True)[:2] == ["--trace=cuda,nvtx,osrt", "--cuda-graph-trace=node"]
    assert capture.flags(False)[0] == "--trace=nvtx,osrt"
    for cuda in (True, False):
        assert {"--trace-fork-before-exec=true", "--wait=all", "--sample=none"} <= set(capture.flags(cuda))


def test_on_amd_gpus_it_says_what_nsys_does_not_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "nsys").write_text("#!/bin/sh\n")
    (tmp_path / "nsys").chmod(0o755)
    monkeypatch.setattr(capture, "here", lambda: Surroundings(root=tmp_path, programs=str(tmp_path)))
    capture.under(["true"], tmp_path)
    assert capsys.readouterr().err == ""
    (tmp_path / "dev" / "kfd").touch()
    assert "--trace=nvtx,osrt" in capture.under(["true"], tmp_path)
    assert "records nothing of AMD GPUs" in capsys.readouterr().err


def test_an_amd_gpu_that_its_driver_names_is_not_traced_as_cuda(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nsys").write_text("#!/bin/sh\n")
    (tmp_path / "nsys").chmod(0o755)
    gpus = (Gpu("MI300X", "6.10.5", None, vendor="amd"),)
    monkeypatch.setattr(capture, "here", lambda: Surroundings(root=tmp_path, programs=str(tmp_path), gpus=gpus))
    assert "--trace=nvtx,osrt" in capture.under(["true"], tmp_path)
    assert "records nothing of AMD GPUs" in capsys.readouterr().err


def test_no_nsys_is_one_line_before_anything_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tracing.record", "--nsys", "--out", str(tmp_path / "t"), "--", "echo", "started"]
    alone = os.environ | {"PATH": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert "nsys is not on the PATH" in done.stderr


def test_what_holds_neither_ranges_nor_work_of_a_gpu_counts_as_empty(tmp_path: Path) -> None:
    assert capture.empty_files(tmp_path) == ()
    path = NsysWriter(tmp_path / "nsys.sqlite").close()
    assert capture.empty_files(tmp_path) == ()
    with sqlite3.connect(path) as file:
        file.execute("DROP TABLE NVTX_EVENTS")
    assert capture.empty_files(tmp_path) == ("nsys.nsys-rep", "nsys.sqlite")


@pytest.mark.skipif(shutil.which("nsys") is None, reason="no nsys here")
@pytest.mark.parametrize(
    ("word", "code", "line"),
    [
        ("true", 1, "nothing was recorded, and no folder is left"),
        ("./no-such-program", 2, "error: cannot run './no-such-program': No such file or directory"),
    ],
)
def test_a_command_without_an_engine_leaves_no_report(word: str, code: int, line: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tracing.record", "--nsys", "--out", str(tmp_path / "t"), "--", word]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (code, line)
    assert not (tmp_path / "t").exists()


def test_a_folder_without_a_recording_is_a_problem(tmp_path: Path) -> None:
    assert "nsys left no recording" in capture.finish(tmp_path)[0]
