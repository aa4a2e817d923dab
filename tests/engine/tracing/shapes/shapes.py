"""Recordings of engines by shape, made once in a run of the tests; none has a running engine any more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.recording import LIMIT_S, ROOT
from tracing.breakdown.findings import Findings, findings
from tracing.shapes.shape import shape_named
from tracing.shapes.verdict import ShapeVerdict, verdict

SHAPES = ("async", "one-gpu", "one-gpu-device", "straggler", "fork", "in-process", "dp2-experts")


class ShapeTraces:
    """The trace folders of shapes, each read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._findings: dict[str, Findings] = {}

    def findings(self, name: str) -> Findings:
        if name not in self._findings:
            self._findings[name] = findings(self.folder / name)
        return self._findings[name]

    def verdict(self, name: str) -> ShapeVerdict:
        return verdict(self.findings(name), shape_named(name))


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> ShapeTraces:
    """The shapes that fit into the tests, recorded by the command that makes the table of all."""
    folder = tmp_path_factory.mktemp("shapes")
    command = [sys.executable, "-m", "tracing.shapes", "--forked", "--out", str(folder), *SHAPES]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=2 * LIMIT_S)
    assert ended.returncode in (0, 3), ended.stderr[-3000:]
    logs = {path.name: path.read_text(errors="replace")[-1000:] for path in folder.glob("*-log.txt")}
    assert all((folder / name / "trace.json").exists() for name in SHAPES), logs
    return ShapeTraces(folder)
