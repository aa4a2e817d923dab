"""The study plan: its texts hold against vLLM, right answers pass, and wrong ones are told what is wrong."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent
from typing import Any

import psutil
import pytest

from notes import days, recorded, sitting
from notes.anchored import anchors, found_at, with_lines
from notes.defaults import MARKER, default, rendered, stale
from notes.exercises import day_1, day_3, day_5
from probes.errors import EnginescopeError
from traces import TraceWriter
from tracing.definitions import Place
from tracing.site import ROLES
from tracing.source import SourceTree

ROOT = Path(__file__).resolve().parent.parent
SOLUTIONS = Path(__file__).parent / "study_solutions"
INSTALLED = SourceTree.find()


def command(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "notes.study", *map(str, args)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def messages(day: int, path: Path) -> list[dict[str, Any]]:
    """What a sitting says of a file, run in this process."""
    pipe = io.StringIO()
    sitting.run(day, path, pipe)
    return [json.loads(line) for line in pipe.getvalue().splitlines()]


# --- the texts ---


@pytest.mark.parametrize("page", days.PAGES)
def test_every_place_of_a_text_is_in_vllm(page: str) -> None:
    named = anchors(MARKER.sub("", days.path(page).read_text()))
    assert named
    assert [anchor for anchor in named if not isinstance(found_at(anchor, INSTALLED), Place)] == []


@pytest.mark.parametrize("page", days.PAGES)
def test_every_command_of_a_text_is_there(page: str) -> None:
    text = days.path(page).read_text()
    named = set(re.findall(r"python\s+-m\s+((?:probes|tracing|offline|notes)\.\w+)", text))
    assert {name for name in named if find_spec(name) is None} == set()


@pytest.mark.parametrize("day", days.DAYS)
def test_a_day_says_what_to_write(day: int) -> None:
    """Every exercise has its name in the text, and the plan of the day is two hours."""
    text = days.path(str(day)).read_text()
    for exercise in sitting.exercises(day):
        assert re.search(rf"`[^`]*\b{exercise.name}\b[^`]*`", text)
    assert sum(map(int, re.findall(r"^## .*\((\d+) minutes\)$", text, re.MULTILINE))) == 120
    assert f"python -m notes.study {day} " in text


def test_the_texts_list_what_their_exercises_ask_for() -> None:
    text = " ".join(days.path("1").read_text().split())
    assert all(f"`{place}`" in text for place in day_1.ASKED)
    assert all(f'`"{job}"`' in text for job in day_1.EVIDENCE) and all(f'`"{name}"`' in text for name in day_1.WANTED)
    assert all(f'`"{span["place"]}"`' in days.path("3").read_text() for span in recorded.read()["abort"])
    assert all(f'`"{station}"`' in days.path("5").read_text() for station in day_5.STATIONS)


def test_quoted_defaults_are_those_of_the_installed_vllm() -> None:
    text = days.path(days.QUESTIONS).read_text()
    assert len(MARKER.findall(text)) >= 15
    assert stale(text, INSTALLED) == []


def test_quoted_tables_are_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text().splitlines()
    text = days.path(days.QUESTIONS).read_text()
    quoted = [
        line for table in re.findall(r"^```text README\n(.*?)^```", text, re.M | re.S) for line in table.splitlines()
    ]
    assert len(quoted) >= 10
    assert [line for line in quoted if line not in readme] == []


# --- defaults and places, in a tree of their own ---

CONFIG = """
class CacheConfig:
    SIZE: int = 16
    share: float = Field(default=0.92, gt=0)
    size: int = Field(default=SIZE)
"""
ENGINE = """
class Args:
    share: float = CacheConfig.share
    size: int | None = get_field(CacheConfig, "size")
    length: int | None = None
    bare: int

    def batch(self, memory):
        if memory > 70:
            most = {Use.LLM: 1024, Use.SERVER: 512}
        else:
            most = {Use.LLM: 256}
        return most
"""


@pytest.fixture
def tree(tmp_path: Path) -> SourceTree:
    files = {"__init__.py": "", "config/__init__.py": "", "config/cache.py": CONFIG, "engine.py": ENGINE}
    for name, text in files.items():
        path = tmp_path / "vllm" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return SourceTree.find(tmp_path)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("vllm/engine.py:Args.length", "None"),
        ("vllm/engine.py:Args.share", "0.92"),
        ("vllm/engine.py:Args.size", "16"),
        ("vllm/config/cache.py:CacheConfig.SIZE", "16"),
        ("vllm/engine.py:Args.batch most[0] SERVER", "512"),
        ("vllm/engine.py:Args.batch most[1] LLM", "256"),
    ],
)
def test_a_default_is_followed_to_where_it_is_written(tree: SourceTree, where: str, value: str) -> None:
    assert default(where, tree) == value
    text = f"at most `7`<!--default {where}-->, see `vllm/engine.py:Args`"
    assert rendered(text, tree) == f"at most `{value}`, see `vllm/engine.py:Args`"
    assert stale(text, tree) == [f"{where}: the text says 7, vLLM {tree.version} {value}"]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("vllm/engine.py:Args.bare", "gives no default to bare"),
        ("vllm/engine.py:Args.gone", "gives no default to gone"),
        ("vllm/engine.py:Gone.share", "does not define Gone"),
        ("vllm/engine.py:Args.batch.share", "is no class"),
        ("vllm/engine.py:Args.batch most[1] SERVER", r"has no .* most\[1\] SERVER"),
        ("vllm/engine.py:Args.batch most[2] LLM", r"has no .* most\[2\] LLM"),
    ],
)
def test_a_default_that_is_gone_is_named(tree: SourceTree, where: str, said: str) -> None:
    with pytest.raises(EnginescopeError, match=said):
        default(where, tree)


def test_a_page_shows_the_line_of_each_place(tree: SourceTree) -> None:
    text = "`vllm/engine.py:Args.batch`, `vllm/engine.py:Args.gone`, vllm/engine.py:Args"
    shown = "`vllm/engine.py:Args.batch` (line 8), `vllm/engine.py:Args.gone` (not in unknown), vllm/engine.py:Args"
    assert with_lines(text, tree) == shown
    with pytest.raises(EnginescopeError, match="is not a place"):
        found_at("vllm/../../etc/passwd.py:x", tree)


# --- the record ---


def test_the_record_is_whole_and_names_its_commands() -> None:
    kept = recorded.read()
    assert kept["made_by"] == list(recorded.COMMANDS) and "vllm 0." in kept["about"] and "cores" in kept["about"]
    assert {span["role"] for span in kept["first_token"]} == set(ROLES)
    assert len(kept["abort"]) == len(recorded.ABORT_SITES)
    for story in (kept["first_token"], kept["abort"]):
        assert [span["start_ns"] for span in story] == sorted(span["start_ns"] for span in story)
        assert all(0 <= span["start_ns"] <= span["end_ns"] for span in story)


def test_a_trace_without_an_abort_makes_no_record(tmp_path: Path) -> None:
    TraceWriter(tmp_path, 10, ["front end"]).span("llm.generate", 1, 9).close()
    with pytest.raises(EnginescopeError, match=r"one that was left; record: python -m tracing\.record"):
        recorded.stories(tmp_path)


# --- right answers ---


@pytest.mark.parametrize("day", days.DAYS)
def test_a_right_answer_passes(day: int) -> None:
    path = next(SOLUTIONS.glob(f"day_{day}.*"))
    said = messages(day, path)
    assert [m for m in said if {"wrong", "missing", "broken"} & set(m)] == []
    assert sum("right" in m for m in said) == sum(len(each.checks) for each in sitting.exercises(day))


# --- wrong ones ---

WRONG: list[tuple[int, str, str]] = [
    # day 1
    (1, "ROLES = {**right.ROLES, 'Scheduler.schedule': 'worker'}", "Scheduler.schedule did not run in the worker"),
    (1, "ROLES = {'Scheduler.schedule': 'core'}", "ROLES says nothing of 'AsyncLLM.generate'"),
    (1, "ROLES = {**right.ROLES, 'Scheduler.schedule': 'kernel'}", "a value is one of 'front end', 'core', 'worker'"),
    (1, "ROLES = ['core']", "ROLES is a list, not a dict"),
    (1, "JOBS = {**right.JOBS, 'turns token ids into text': 'API server'}", "not the API server that turns token ids"),
    (1, "PLACES = {**right.PLACES, 'sends': 'vllm/v1/engine/async_llm.py:AsyncLLM._ad_request'}", "_add_request"),
    (1, "PLACES = {**right.PLACES, 'takes': 'vllm/v1/engine/async_llm.py:AsyncLLM.abort'}", "has no a call that gets"),
    (1, "PLACES = {**right.PLACES, 'takes': 'AsyncLLM'}", "'AsyncLLM' is not a place"),
    (1, "PLACES = {**right.PLACES, 'takes': 'vllm/v1/engine/async_llm.py:AsyncLLM'}", "is a whole class"),
    # day 2
    (2, "async def gather_limited(jobs, limit):\n return [await job() for job in jobs]", "no more than 1 ran at once"),
    (
        2,
        "async def gather_limited(jobs, limit):\n return await asyncio.gather(*(j() for j in jobs))",
        "jobs ran at once",
    ),
    (2, "async def gather_limited(jobs, limit):\n await asyncio.gather(*(j() for j in jobs))", "it returned None"),
    (
        2,
        """
        async def gather_limited(jobs, limit):
            found = []
            for at in range(0, len(jobs), limit):
                found += await asyncio.gather(*(job() for job in jobs[at : at + limit]))
            return found
        """,
        "one job's ValueError came out",
    ),
    (
        2,
        """
        async def gather_limited(jobs, limit):
            semaphore, tasks = asyncio.Semaphore(limit), []
            async def one(job):
                async with semaphore:
                    return await job()
            tasks = [asyncio.create_task(one(job)) for job in jobs]
            if tasks:
                await asyncio.wait(tasks)
            return [task.exception() or task.result() for task in tasks]
        """,
        "4 task(s) still running after it was cancelled",
    ),
    (
        2,
        """
        async def gather_limited(jobs, limit):
            try:
                return await right.gather_limited(jobs, limit)
            except asyncio.CancelledError:
                return []
        """,
        "it was cancelled, and ended as if nothing was",
    ),
    (2, "def gather_limited(jobs, limit):\n return []", "it raised TypeError"),
    (2, "def seconds_needed(durations, limit):\n return sum(durations) / limit", "seconds_needed(["),
    (2, "async def without_blocking(function, *args):\n return function(*args)", "the loop stood still"),
    (
        2,
        """
        async def without_blocking(function, *args):
            with contextlib.suppress(ValueError):
                return await asyncio.to_thread(function, *args)
        """,
        "nobody heard of it",
    ),
    # day 3
    (
        3,
        """
        async def stream(engine, prompt):
            request = await engine.add(prompt)
            while (piece := await request.get()) is not None:
                yield piece
        """,
        "the client left, and the engine goes on with its request",
    ),
    (
        3,
        """
        async def stream(engine, prompt):
            request = await engine.add(prompt)
            try:
                while (piece := await request.get()) is not None:
                    yield piece
            finally:
                await engine.abort(request)
        """,
        "a request that had ended was aborted",
    ),
    (
        3,
        """
        async def stream(engine, prompt):
            request = await engine.add(prompt)
            try:
                while (piece := await request.get()) is not None:
                    yield piece
            except GeneratorExit:
                await engine.abort(request)
                raise
        """,
        "the reader was cancelled before the first piece, and the engine goes on",
    ),
    (
        3,
        """
        async def stream(engine, prompt):
            request = await engine.add(prompt)
            try:
                while (piece := await request.get()) is not None:
                    yield piece
            except BaseException:
                await engine.abort(request)
        """,
        "the reader's task did not end as cancelled",
    ),
    (
        3,
        """
        async def stream(engine, prompt):
            request = await engine.add(prompt)
            try:
                while (piece := await request.get()) is not None:
                    yield piece
            except GeneratorExit:
                yield "bye"
        """,
        "closing it raised async generator ignored GeneratorExit",
    ),
    (
        3,
        """
        async def stream(engine, prompt):
            try:
                async for piece in right.stream(engine, prompt):
                    yield piece
            except OSError:
                return
        """,
        "goes on with its request",  # the generator inside is left open: the trap of the day, in a dress
    ),
    (3, "async def stream(engine, prompt):\n return []", "gives a coroutine, not an async generator"),
    (
        3,
        """
        async def first_pieces(stream, count):
            found = []
            async for piece in stream:
                found.append(piece)
                if len(found) == count:
                    break
            return found
        """,
        "the stream is still open when first_pieces returns",
    ),
    (3, "async def first_pieces(stream, count):\n return [piece async for piece in stream][:count]", "it asked for 8"),
    (3, "ABORT_ORDER = right.ABORT_ORDER[::-1]", "Scheduler._free_request is not number 1"),
    (3, "ABORT_ORDER = right.ABORT_ORDER[:3]", "each of the day's six places, once"),
    # day 4
    (4, "async def call_with_retry(*args):\n return {}", "your file has no exception class Refused"),
    (4, CALL := "from day_4 import GaveUp, Refused\n", "open"),
    (4, CALL + "async def call_with_retry(*args):\n return {'text': 'Hi'}", "the number of requests is 0, not 1"),
    (
        4,
        CALL
        + """
async def call_with_retry(session, url, body, *_):
    async with session.post(url, json=body) as response:
        return await response.json()
""",
        "what it returned is {'error'",
    ),
    (
        4,
        CALL
        + """
async def call_with_retry(session, url, body, attempts, timeout_s, backoff_s):
    return await right.call_with_retry(session, url, body, attempts, timeout_s, 0)
""",
        "pause 1 was",
    ),
    (
        4,
        CALL
        + """
async def call_with_retry(session, url, body, attempts, timeout_s, backoff_s):
    try:
        return await right.call_with_retry(session, url, body, attempts, timeout_s, backoff_s)
    except Refused as error:
        raise GaveUp(error)
""",
        "it gave up instead of raising Refused",
    ),
    (
        4,
        CALL
        + """
async def call_with_retry(session, url, body, attempts, timeout_s, backoff_s):
    return await right.call_with_retry(session, url, body, attempts + 1, timeout_s, backoff_s)
""",
        "the number of requests with attempts=1 is 2, not 1",
    ),
    (
        4,
        CALL
        + """
async def call_with_retry(session, url, body, attempts, timeout_s, backoff_s):
    return await right.call_with_retry(session, url, body, attempts, 60, backoff_s)
""",
        "with timeout_s=0.3 it waited on",
    ),
    (4, "def error_class(outcome):\n return 'ok' if outcome == 200 else 'server'", "error_class(400) is 'server'"),
    (
        4,
        """
        def error_class(outcome):
            if isinstance(outcome, aiohttp.ClientError):
                return "connection"
            return right.error_class(outcome)
        """,
        "which is 'timeout' and not 'connection'",
    ),
    (4, "HANDLERS = [*right.HANDLERS[:1], ('EngineDeadError', True)]", "clause 2 (EngineDeadError) does not abort"),
    (4, "HANDLERS = right.HANDLERS[1:]", "clause 1 does not catch EngineDeadError"),
    (4, "HANDLERS = right.HANDLERS[:2]", "HANDLERS has 2 entries"),
    # day 5
    (
        5,
        "STATIONS = ['front end', 'core', 'core input', 'worker', 'core output']",
        "came to core input before it came to core",
    ),
    (5, "STATIONS = ['front end', 'worker']", "each of the five, once"),
    (5, "HOPS = {**right.HOPS, ('core', 'worker'): 'ZMQ'}", "it is not ZMQ that carries core → worker"),
    (5, "HOPS = {('front end', 'core input'): 'ZMQ'}", "HOPS has no hop from core input to core"),
    (5, "HOPS = {**right.HOPS, ('worker', 'front end'): 'ZMQ'}", "nothing hops from worker to front end"),
    (5, "def busy_ns(spans):\n return sum(end - start for start, end in spans)", "counts once: sort by start"),
    (5, "def busy_ns(spans):\n return max(e for _, e in spans) - min(s for s, _ in spans)", "it raised ValueError"),
    # day 6
    (6, "def percentile(values, share):\n return sorted(values)[int(share * len(values))]", "it raised IndexError"),
    (6, "def percentile(values, share):\n values.sort()\n return right.percentile(values, share)", "changed the list"),
    (6, "def percentile(values, share):\n return right.percentile(values or [0], share)", "a figure out of nothing"),
    (
        6,
        """
        def summary(records):
            took = [r["ended_s"] - r["due_s"] for r in records]
            return {**right.summary(records), "p95_s": right.percentile(took, 0.95) if took else None}
        """,
        "you count the requests that failed",
    ),
    (
        6,
        """
        def summary(records):
            return right.summary([{**r, "due_s": r["sent_s"]} for r in records])
        """,
        "count from `due_s`",
    ),
    (6, "def summary(records):\n return {}", "summary(records) has no 'requests'"),
    (6, "def summary(records):\n return right.summary(records[:9])", "requests is 9, not 10"),
]


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, str], Path]:
    """Writes a learner's file, in which `right` is that day's right answer."""
    monkeypatch.syspath_prepend(str(SOLUTIONS))

    def write(day: int, text: str) -> Path:
        path = tmp_path / "answer.py"
        head = "import asyncio, contextlib\nimport aiohttp\n" if day in (2, 3, 4) else ""
        path.write_text(f"{head}import day_{day} as right\n{dedent(text)}\n")
        return path

    return write


@pytest.mark.parametrize(("day", "text", "said"), WRONG)
def test_a_wrong_answer_is_told_what_is_wrong(
    answer: Callable[[int, str], Path], day: int, text: str, said: str
) -> None:
    found = messages(day, answer(day, text))
    wrong = [message for message in found if "wrong" in message]
    if said == "open":
        assert wrong == [] and any("missing" in message for message in found)
        return
    assert len(wrong) == 1 and said in f"{wrong[0]['wrong']} {wrong[0]['hint']}"


REPORT = (SOLUTIONS / "day_7.md").read_text()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("# Where", "Where", "there is no title"),
        ("## Open questions", "## Questions", "there is no section `## Open questions`"),
        ("## What I read", "## What I read\n" + "word " * 500, "are more than a page"),
        ("EngineCore.add_request", "EngineCore.admit_request", "does not itself define admit_request"),
        ("4. In the other process", "In the other process", "two"),
        ("python -m tracing.walk", "python -m tracing.wander", "there is no command tracing.wander"),
        ("`python -m tracing.walk`", "a look", "no command of this project is named"),
        ("by how much?", "by how much.", "open question 2 is no question"),
        ("3. Which of", "Which of", "there are 2 list items under Open questions"),
    ],
)
def test_a_report_is_told_what_it_lacks(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in REPORT
    path = tmp_path / "report.md"
    path.write_text(REPORT.replace(old, new, 1))
    wrong = [message for message in messages(7, path) if "wrong" in message]
    if said == "two":  # six steps are left, and that is enough
        assert wrong == []
        return
    assert len(wrong) == 1 and said in wrong[0]["wrong"]


# --- the command ---


def test_lists_days_and_shows_one() -> None:
    listed = command()
    assert listed.returncode == 0 and len(re.findall(r"^\d +Day", listed.stdout, re.MULTILINE)) == 7
    shown = command(3).stdout
    assert shown.startswith("# Day 3") and re.search(
        r"`vllm/v1/engine/async_llm.py:AsyncLLM.abort` \(line \d+\)", shown
    )
    assert "<!--" not in command("questions").stdout


def test_a_file_is_judged_in_a_process_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text((SOLUTIONS / "day_5.py").read_text().replace("HOPS", "ARROWS") + "print('hello from the file')\n")
    result = command(5, path)
    assert result.returncode == 1 and result.stderr == ""
    assert "hello from the file" in result.stdout and "open   your file does not define it yet" in result.stdout
    assert result.stdout.endswith("2 of 3 exercises right\n")
    assert list(tmp_path.iterdir()) == [path]
    whole = command(6, SOLUTIONS / "day_6.py")
    assert whole.returncode == 0 and whole.stdout.endswith("2 of 2 exercises right: day 6 is done\n")


@pytest.mark.parametrize(
    ("text", "said"),
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
def test_a_broken_file_is_told_so_without_a_traceback_of_ours(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    result = command(5, path)
    assert result.returncode == 1 and said in result.stdout
    assert "Traceback" not in result.stdout + result.stderr and "sitting.py" not in result.stdout
    assert result.stdout.endswith("0 of 3 exercises right\n")


def test_a_file_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    path, mark = tmp_path / "mine.py", tmp_path / "child.pid"
    path.write_text(
        "import pathlib, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"pathlib.Path({str(mark)!r}).write_text(str(child.pid))\n"
        "def busy_ns(spans):\n    while True: pass\n"
    )
    *_, last = said = list(sitting.sit(5, path, limit_s=4.0))
    assert last == {"end": "late"} and {"exercise": "busy_ns"} in said
    wait_until_gone(int(mark.read_text()))


def wait_until_gone(pid: int, limit_s: float = 10) -> None:
    """Killed is not yet gone: on a busy machine the kernel takes its time."""
    deadline = time.monotonic() + limit_s
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, f"{pid} still runs"
        time.sleep(0.05)


def test_a_check_that_awaits_forever_is_given_up(
    answer: Callable[[int, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sitting, "CHECK_S", 0.2)
    path = answer(2, "async def gather_limited(jobs, limit):\n await asyncio.Event().wait()")
    assert "it had not come back after" in messages(2, path)[-5]["wrong"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("8",), "there is no day '8'"),
        (("3", "nothing.py"), "there is no file nothing.py"),
        (("7", SOLUTIONS / "day_6.py"), "day 7 wants a .md file, not day_6.py"),
        (("6", SOLUTIONS / "day_7.md"), "day 6 wants a .py file, not day_7.md"),
        (("questions", SOLUTIONS / "day_6.py"), "the questions have no exercises"),
    ],
)
def test_bad_usage_is_one_line(args: tuple[object, ...], said: str) -> None:
    result = command(*args)
    assert result.returncode == 2 and said in result.stderr and len(result.stderr.splitlines()) == 1


def test_the_plan_can_be_read_without_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(path: Path | None = None) -> SourceTree:
        raise EnginescopeError("vLLM is not installed here")

    monkeypatch.setattr(SourceTree, "find", nowhere)
    text = days.text(days.QUESTIONS)
    assert "<!--" not in text and "`0.92`" in text


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
