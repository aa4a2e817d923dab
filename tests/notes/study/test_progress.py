"""What a learner has done is kept in a file, shown beside what is open, and quoted in the answers to questions."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from notes.study import progress, texts
from notes.study.judging import exercises
from notes.study.messages import Broken, CheckBegins, Ended, ExerciseBegins, Failed, Message, NotDefined, Passed
from notes.study.verdict import FileVerdict
from notes.translation import labels
from probes.errors import EnginescopeError
from tests.notes.study.studyfiles import command


def test_the_steps_of_a_day_are_its_self_check_and_its_exercises() -> None:
    names = [step.name for step in progress.steps(5)]
    assert names == ["5.1", "5.2", "5.3", "5.CLIENTS", "5.STATIONS", "5.HOPS", "5.busy_ns"]


@pytest.mark.parametrize("day", texts.DAYS)
def test_every_day_has_a_self_check_that_is_read_whole(day: int) -> None:
    table = texts.path(str(day)).read_text().partition("## Self-check")[2]
    rows = [line for line in table.splitlines() if re.match(r"\| \d", line)]
    assert len(rows) >= 3 and [step.name for step in progress.steps(day)] == [
        *(f"{day}.{number}" for number in range(1, len(rows) + 1)),
        *(f"{day}.{exercise.name}" for exercise in exercises(day)),
    ]


def test_steps_in_chinese_are_the_same_steps() -> None:
    say = labels.read("zh")
    for day in texts.DAYS:
        assert [step.name for step in progress.steps(day, say)] == [step.name for step in progress.steps(day)]
    assert progress.tally(5, {}, say) == "已完成 0/7"
    assert progress.with_notes("<!--saw 6.3-->", {}, say) == "（还没有记录：第 6 天的 6.3 步）"


def test_a_step_is_noted_and_no_longer_open(tmp_path: Path) -> None:
    file = tmp_path / "new" / "study.json"
    result = command("--saw", "1.1", "20 of 20, P95 0.3 s", progress=file)
    assert result.returncode == 0 and result.stdout.startswith(f"Wrote {file}: step 1.1 is done\n")
    note = json.loads(file.read_text())["done"]["1.1"]
    assert note["saw"] == "20 of 20, P95 0.3 s" and note["expected"].startswith("20 answered")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", note["at"])
    still = command("open", progress=file).stdout
    assert "  open  1.2  " in still and "  open  1.1  " not in still
    assert "  done  1.1  20 of 20, P95 0.3 s" in command(1, progress=file).stdout


def test_the_second_note_keeps_the_first(tmp_path: Path) -> None:
    progress.note(tmp_path / "study.json", {"1.1": "a"})
    progress.note(tmp_path / "study.json", {"1.2": "b", "1.1": "c"})
    assert {name: note.observation for name, note in progress.read(tmp_path / "study.json").items()} == {
        "1.1": "c",
        "1.2": "b",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["study.json"]


@pytest.mark.parametrize(
    ("text", "words"),
    [('{"schema": 9, "done": {}}', "is of schema 9, not 1"), ("[1]", "holds no progress"), ("{", "holds no progress")],
)
def test_a_file_that_is_no_progress_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(EnginescopeError, match=words):
        progress.read(tmp_path / "study.json")


@pytest.mark.parametrize(
    ("step", "words"), [("1.99", "there is no step '1.99'; the steps are 1.1, 1.2"), ("x", "the steps are 1.1 to 7")]
)
def test_a_step_that_is_not_there_is_refused_by_name(step: str, words: str) -> None:
    with pytest.raises(EnginescopeError, match=re.escape(words)):
        progress.find_step(step)


def test_what_was_seen_stands_in_an_answer() -> None:
    text = "Mine: <!--saw 6.3-->."
    note = progress.Note("tokens a second", "5, 16 and 50 tok/s", "2026-01-01T00:00:00")
    assert progress.with_notes(text, {"6.3": note}) == "Mine: “5, 16 and 50 tok/s”."
    assert progress.with_notes(text, {}) == "Mine: (not noted yet: step 6.3 of day 6)."


LATE = [ExerciseBegins("a"), CheckBegins("it ends"), Ended("late")]


@pytest.mark.parametrize(
    ("messages", "outcomes"),
    [
        ([ExerciseBegins("a"), CheckBegins("x"), Passed("x", None), Ended("done")], {"a": "right"}),
        ([ExerciseBegins("a"), Passed("x", "3 ms"), Passed("y", None), Ended("done")], {"a": "3 ms"}),
        ([ExerciseBegins("a"), Passed("x", "3 ms"), Failed("y", "no", "", ()), Ended("done")], {}),
        ([ExerciseBegins("a"), NotDefined(), Ended("done"), ExerciseBegins("b"), Ended("done")], {"b": "right"}),
        ([*LATE, ExerciseBegins("b"), Passed("x", None), Ended("done")], {"b": "right"}),
        ([ExerciseBegins("a"), Passed("x", None), Ended("done"), Ended("died")], {"a": "right"}),
        ([Broken("line 1", ())], {}),
    ],
)
def test_only_what_is_right_is_seen(messages: list[Message], outcomes: dict[str, str]) -> None:
    verdict = FileVerdict()
    lines = list(verdict.lines(messages))
    assert verdict.outcomes == outcomes
    assert any("when its time was over" in line for line in lines) == (messages[:3] == LATE)
