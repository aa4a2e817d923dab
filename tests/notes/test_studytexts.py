"""The study plan's texts hold against vLLM: every place, command and default that they name."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from notes import recorded
from notes.study import judging, recording, texts
from notes.study.anchored import anchors, find_place, with_lines
from notes.study.defaults import MARKER, default, rendered, stale
from notes.study.exercises import day_1, day_5, day_6, errorclasses
from probes.errors import EnginescopeError
from tests.needs import installed_vllm
from tests.notes.studyfiles import ROOT
from tests.tracing.traces import TraceWriter
from tracing.sites.site import ROLES
from tracing.source.definitions import Place
from tracing.source.tree import SourceTree


@pytest.mark.parametrize("page", texts.PAGES)
def test_every_place_of_a_text_is_in_vllm(page: str) -> None:
    named = anchors(MARKER.sub("", texts.path(page).read_text()))
    assert named
    assert [anchor for anchor in named if not isinstance(find_place(anchor, installed_vllm()), Place)] == []


@pytest.mark.parametrize("page", texts.PAGES)
def test_every_command_of_a_text_is_there(page: str) -> None:
    text = texts.path(page).read_text()
    named = set(re.findall(r"python\s+-m\s+((?:probes|tracing|offline|notes)\.\w+)", text))
    assert {name for name in named if find_spec(name) is None} == set()


@pytest.mark.parametrize("day", texts.DAYS)
def test_a_day_says_what_to_write(day: int) -> None:
    """Every exercise has its name in the text, and the plan of the day is two hours."""
    text = texts.path(str(day)).read_text()
    for exercise in judging.exercises(day):
        assert re.search(rf"`[^`]*\b{exercise.name}\b[^`]*`", text)
    assert sum(map(int, re.findall(r"^## .*\((\d+) minutes\)$", text, re.MULTILINE))) == 120
    assert f"python -m notes.study {day} " in text


def test_the_texts_list_what_their_exercises_ask_for() -> None:
    text = " ".join(texts.path("1").read_text().split())
    assert all(f"`{place}`" in text for place in day_1.ROLE_PLACES)
    assert all(f'`"{job}"`' in text for job in day_1.EVIDENCE) and all(f'`"{name}"`' in text for name in day_1.REQUIRED)
    assert all(f'`"{span.place}"`' in texts.path("3").read_text() for span in recording.read().abort)
    assert all(f'`"{station}"`' in texts.path("5").read_text() for station in day_5.STATIONS)


def test_the_errors_of_day_6_are_the_classes_of_day_4() -> None:
    rows = re.findall(r"^\| [^|]+ \| `(\w+)`", texts.path("4").read_text(), re.MULTILINE)
    assert set(rows) == set(errorclasses.CLASSES) == {"ok", *day_6.ERRORS}


def test_quoted_defaults_are_those_of_the_installed_vllm() -> None:
    text = texts.path(texts.QUESTIONS).read_text()
    assert len(MARKER.findall(text)) >= 15
    assert stale(text, installed_vllm()) == []


def test_quoted_tables_are_in_the_readmes() -> None:
    readme = [line for page in ROOT.glob("*/README.md") for line in page.read_text().splitlines()]
    text = texts.path(texts.QUESTIONS).read_text()
    quoted = [
        line for table in re.findall(r"^```text README\n(.*?)^```", text, re.M | re.S) for line in table.splitlines()
    ]
    assert len(quoted) >= 10
    assert [line for line in quoted if line not in readme] == []


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
    ("where", "error"),
    [
        ("vllm/engine.py:Args.bare", "gives no default to bare"),
        ("vllm/engine.py:Args.gone", "gives no default to gone"),
        ("vllm/engine.py:Gone.share", "does not define Gone"),
        ("vllm/engine.py:Args.batch.share", "is not a class"),
        ("vllm/engine.py:Args.batch most[1] SERVER", r"has no .* most\[1\] SERVER"),
        ("vllm/engine.py:Args.batch most[2] LLM", r"has no .* most\[2\] LLM"),
    ],
)
def test_a_default_that_is_gone_is_named(tree: SourceTree, where: str, error: str) -> None:
    with pytest.raises(EnginescopeError, match=error):
        default(where, tree)


def test_a_page_shows_the_line_of_each_place(tree: SourceTree) -> None:
    text = "`vllm/engine.py:Args.batch`, `vllm/engine.py:Args.gone`, vllm/engine.py:Args"
    shown = "`vllm/engine.py:Args.batch` (line 8), `vllm/engine.py:Args.gone` (not in unknown), vllm/engine.py:Args"
    assert with_lines(text, tree) == shown
    with pytest.raises(EnginescopeError, match="is not a place"):
        find_place("vllm/../../etc/passwd.py:x", tree)


def test_the_recording_is_whole_and_names_its_machine() -> None:
    committed = recording.read()
    assert "vllm 0." in committed.about and "cores" in committed.about
    assert {span.role for span in committed.first_token} == set(ROLES)
    assert len(committed.abort) == len(recorded.ABORT_SITES)
    for story in (committed.first_token, committed.abort):
        assert [span.start_ns for span in story] == sorted(span.start_ns for span in story)
        assert all(0 <= span.start_ns <= span.end_ns for span in story)


def test_a_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    recording.write(recording.read(), tmp_path / "recorded.json")
    assert (tmp_path / "recorded.json").read_text() == recording.FILE.read_text()


def test_a_recording_of_another_schema_is_refused_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "recorded.json").write_text('{"schema": 0}')
    with pytest.raises(EnginescopeError, match=r"recorded\.json is of schema 0, not 1: write it again with"):
        recording.read(tmp_path / "recorded.json")


def test_a_trace_without_an_abort_makes_no_record(tmp_path: Path) -> None:
    TraceWriter(tmp_path, 10, ["front end"]).span("llm.generate", 1, 9).close()
    with pytest.raises(EnginescopeError, match=r"one that was left; record: python -m tracing\.record"):
        recorded.recording(tmp_path)
