"""Right answers of the study plan pass, and wrong ones are told what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from notes.study import judging, texts
from notes.study.messages import Broken, Failed, NotDefined, Passed
from tests.needs import needs_vllm
from tests.notes.study import studybatches
from tests.notes.study.mistakes import day_1, day_2, day_3, day_4, day_5, day_6
from tests.notes.study.studyfiles import SOLUTIONS, answering, messages


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, str], Path]:
    return answering(tmp_path, monkeypatch)


NEEDS_SOURCE = (1, 3, 5, 7)  # days with answers that the installed vLLM's source judges


@pytest.mark.parametrize(
    "day", [pytest.param(day, marks=needs_vllm if day in NEEDS_SOURCE else ()) for day in texts.DAYS]
)
def test_a_right_answer_passes(day: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    studybatches.write_all(tmp_path)
    path = next(SOLUTIONS.glob(f"day_{day}.*"))
    reports = messages(day, path)
    assert [each for each in reports if isinstance(each, Failed | NotDefined | Broken)] == []
    passed = sum(isinstance(each, Passed) for each in reports)
    assert passed == sum(len(exercise.checks) for exercise in judging.exercises(day))


DAYS = (day_1, day_2, day_3, day_4, day_5, day_6)
JUDGED_BY_SOURCE = ("PLACES", "HANDLERS", "QUOTATIONS", "CLIENTS")  # by the installed vLLM's
CASES = [
    pytest.param(day, text, words, marks=needs_vllm if text.startswith(JUDGED_BY_SOURCE) else ())
    for day, module in enumerate(DAYS, 1)
    for text, words in module.WRONG
]


@pytest.mark.parametrize(("day", "text", "words"), CASES)
def test_a_wrong_answer_hears_what_is_wrong(
    answer: Callable[[int, str], Path], day: int, text: str, words: str
) -> None:
    reports = messages(day, answer(day, text))
    failures = [message for message in reports if isinstance(message, Failed)]
    if words == "open":
        assert failures == [] and NotDefined() in reports
        return
    assert len(failures) == 1 and words in f"{failures[0].reason} {failures[0].hint}"
