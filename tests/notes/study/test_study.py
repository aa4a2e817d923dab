"""`notes.study`, the command: days are listed, a file is judged in a process of its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from notes.study import judging, texts
from notes.study.exercises import day_3
from notes.study.messages import Broken, Ended, ExerciseBegins, Failed, Message, NotDefined, Passed, decode, encode
from notes.study.progress import with_notes
from probes.errors import EnginescopeError
from tests.needs import needs_vllm
from tests.notes.study.studyfiles import SOLUTIONS, answering, command, messages
from tests.shells import until
from tracing.source.tree import SourceTree


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, str], Path]:
    return answering(tmp_path, monkeypatch)


@needs_vllm
def test_lists_days_and_shows_one() -> None:
    listed = command()
    assert listed.returncode == 0 and len(re.findall(r"^\d +Day", listed.stdout, re.MULTILINE)) == 7
    shown = command(3).stdout
    assert shown.startswith("# Day 3") and re.search(
        r"`vllm/v1/engine/async_llm.py:AsyncLLM.abort` \(line \d+\)", shown
    )
    assert "<!--" not in command("questions").stdout


@needs_vllm
def test_shows_the_texts_in_chinese() -> None:
    listed = command("--lang", "zh")
    assert listed.returncode == 0 and len(re.findall(r"^\d +第 \d 天", listed.stdout, re.MULTILINE)) == 7
    shown = command(3, "--lang", "zh").stdout
    assert shown.startswith("# 第 3 天") and "待做  3.ABORT_ORDER" in shown
    assert re.search(r"`vllm/v1/engine/async_llm.py:AsyncLLM.abort` （第 \d+ 行）", shown)
    assert command("open", "--lang", "zh").stdout.startswith("第 1 天")


def test_the_recorded_stories_are_told_call_by_call() -> None:
    lines = command("recorded").stdout.splitlines()
    assert lines[0].startswith("recorded: ") and "an abort" in lines
    first, last = lines[lines.index("an abort") + 2], lines[-1]
    assert re.search(r"front end +AsyncLLM\.abort$", first) and re.search(r"core +Scheduler\._free_request$", last)


@needs_vllm
def test_a_file_is_judged_in_a_process_of_its_own(tmp_path: Path) -> None:
    path, progress = tmp_path / "mine.py", tmp_path / "kept" / "study.json"
    path.write_text((SOLUTIONS / "day_5.py").read_text().replace("HOPS", "ARROWS") + "print('hello from the file')\n")
    result = command(5, path, progress=progress)
    assert result.returncode == 1 and result.stderr == ""
    assert "hello from the file" in result.stdout and "open   your file does not define it yet" in result.stdout
    assert result.stdout.endswith("3 of 4 exercises right\n")
    assert sorted(path.parent.iterdir()) == [progress.parent, path]
    whole = command(2, SOLUTIONS / "day_2.py", progress=progress)
    assert whole.returncode == 0 and whole.stdout.endswith("3 of 3 exercises right: day 2 is written\n")
    listed = command(progress=progress).stdout
    assert re.search(r"^2 .*\(3 of 6 done\)$", listed, re.M) and re.search(r"^5 .*\(3 of 7 done\)$", listed, re.M)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def busy_ns(spans)\n    return 0\n", "cannot be loaded: line 1: expected ':'"),
        ("import sys\nsys.exit(0)\n", "it ends Python while it is loaded"),
        ("import nothing_of_that_name\n", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        (
            "def busy_ns(spans):\n    return first(spans)\ndef first(s):\n    return s[0][0]\n",
            "line 4, in first: return s[0",
        ),
        ("import os\ndef busy_ns(spans):\n    os._exit(0)\n", "it ended its Python in the middle of this"),
        ("def busy_ns(spans):\n    raise SystemExit(3)\n", "it raised SystemExit: 3"),
    ],
)
def test_a_broken_file_is_reported_without_a_traceback_of_ours(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    result = command(5, path)
    assert result.returncode == 1 and words in result.stdout
    assert "Traceback" not in result.stdout + result.stderr and "judging.py" not in result.stdout
    assert re.search(r"[0-3] of 4 exercises right\n$", result.stdout)


def test_a_file_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    path, mark = tmp_path / "mine.py", tmp_path / "child.pid"
    path.write_text(
        "import pathlib, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"pathlib.Path({str(mark)!r}).write_text(str(child.pid))\n"
        "def busy_ns(spans):\n    while True: pass\n"
    )
    reports = list(judging.judge(5, path, limit_s=4.0))
    ended = [message for message in reports if isinstance(message, Ended)]
    assert ended == [Ended("done")] * 3 + [Ended("late")] and ExerciseBegins("busy_ns") in reports
    assert until(lambda: is_gone(int(mark.read_text())), 10)  # killed is not yet gone: the kernel takes its time


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_check_that_awaits_forever_is_given_up(
    answer: Callable[[int, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "CHECK_S", 0.2)
    path = answer(2, "async def gather_limited(jobs, limit):\n await asyncio.Event().wait()")
    failed = next(message for message in messages(2, path) if isinstance(message, Failed))
    assert "it had not come back after" in failed.reason


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("8",), "there is no day or page '8': a number from 1 to 7, or: clients,"),
        (("2", SOLUTIONS), "solutions is a folder: name your file in it"),
        (("3", "nothing.py"), "there is no file nothing.py"),
        (("7", SOLUTIONS / "day_6.py"), "day 7 wants a .md file, not day_6.py"),
        (("6", SOLUTIONS / "day_7.md"), "day 6 wants a .py file, not day_7.md"),
        (("questions", SOLUTIONS / "day_6.py"), "the page questions has no exercises"),
    ],
)
def test_bad_usage_is_one_line(args: tuple[object, ...], words: str) -> None:
    result = command(*args)
    assert result.returncode == 2 and words in result.stderr and len(result.stderr.splitlines()) == 1


def test_the_plan_can_be_read_without_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(path: Path | None = None) -> SourceTree:
        raise EnginescopeError("vLLM is not installed here")

    monkeypatch.setattr(SourceTree, "find", nowhere)
    text = texts.text(texts.QUESTIONS)
    assert "<!--" not in with_notes(text, {}) and "`0.92`" in text


def test_day_three_judges_with_a_real_engine_of_tasks() -> None:
    """The tiny engine itself: it counts what runs, and an abort ends it."""
    import asyncio

    async def served_and_aborted() -> tuple[list[Any], int, int]:
        engine = day_3.Engine("a", "b")
        first, second = await engine.add("x"), await engine.add("y")
        got = [await first.get(), await first.get(), await first.get()]
        await engine.abort(second)
        return got, engine.running, len(engine.aborted)

    assert asyncio.run(served_and_aborted()) == (["a", "b", None], 0, 1)


def test_solutions_stand_alone() -> None:
    """A learner's file imports nothing of ours."""
    for path in SOLUTIONS.glob("*.py"):
        assert not re.search(r"^(?:from|import) (?:notes|probes|tracing|offline)\b", path.read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    "message",
    [
        Broken("line 1", ("x = ",)),
        NotDefined(),
        Passed("it is right", None),
        Failed("it is right", "no", "", ("x",)),
        Ended("died"),
    ],
)
def test_a_message_is_read_as_it_was_written(message: Message) -> None:
    assert decode(encode(message)) == message
