"""The study command, and a learner's file judged in this process."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from notes.study import judging
from notes.study.messages import Message, decode
from tests.notes.study import studybatches

ROOT = Path(__file__).resolve().parents[3]
SOLUTIONS = Path(__file__).parent / "solutions"
NOWHERE = Path("/nowhere/study.json")  # a progress of which nothing is there


def command(*args: object, progress: Path = NOWHERE) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "notes.study", *map(str, args), "--progress", str(progress)],
        **{"cwd": ROOT, "capture_output": True, "text": True, "timeout": 120},
    )


def messages(day: int, path: Path) -> list[Message]:
    """What is reported of a file that is judged in this process."""
    pipe = io.StringIO()
    judging.run(judging.exercises(day), path, pipe)
    return [decode(line) for line in pipe.getvalue().splitlines()]


def answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, str], Path]:
    """Writes a learner's file, in which `right` is that day's right answer, beside the batches that it names."""
    monkeypatch.syspath_prepend(str(SOLUTIONS))
    monkeypatch.chdir(tmp_path)
    studybatches.write_all(tmp_path)

    def write(day: int, text: str) -> Path:
        path = tmp_path / "answer.py"
        head = "import asyncio, contextlib\nimport aiohttp\n" if day in (2, 3, 4) else ""
        path.write_text(f"{head}import day_{day} as right\n{dedent(text)}\n")
        return path

    return write
