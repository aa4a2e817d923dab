"""The reading report of day 7 hears what it lacks, and is judged by order and roles and not by its words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from notes.study.exercises import day_7
from notes.study.messages import Failed
from tests.needs import needs_vllm
from tests.notes.study.studyfiles import SOLUTIONS, messages

REPORT = (SOLUTIONS / "day_7.md").read_text()
CHINESE = (SOLUTIONS / "day_7_zh.md").read_text()


def failure(tmp_path: Path, report: str) -> str:
    """The one thing that a report is said to lack."""
    path = tmp_path / "report.md"
    path.write_text(report)
    (failed,) = (message for message in messages(7, path) if isinstance(message, Failed))
    return failed.reason


@needs_vllm
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("# Where", "Where", "there is no title"),
        ("## Open questions", "## Questions", "there is no section `## Open questions`"),
        ("## Four points", "## Four points\n" + " ".join(map(str, range(500))), "are more than a page"),
        ("EngineCore.preprocess_add_request", "EngineCore.process_add", "does not itself define process_add"),
        (
            "core_client.py:AsyncMPClient._send_input",
            "async_llm.py:AsyncLLM.add_request",
            "no place of vllm/v1/engine/core_client",
        ),
        ("6. worker, ", "6. core, ", "step 6: Worker.sample_tokens ran in the role worker, not core"),
        ("4. core input, ", "4. In the other process, ", "step 4 does not begin with its role"),
        ("Worker.sample_tokens`", "Worker.determine_available_memory`", "step 6 names no place that the recorded"),
        (
            "8. front end, ",
            "8. front end, `vllm/v1/engine/async_llm.py:AsyncLLM.add_request`, ",
            "had left AsyncLLM.add_request",
        ),
        ("- abort: whoever", "- ending: whoever", "there is no item for the point abort"),
        ("AsyncLLM._run_output_handler", "AsyncLLM.generate", "background task: its place is not named"),
        ("python -m tracing.walk", "python -m tracing.wander", "there is no command tracing.wander"),
        ("`python -m tracing.walk`", "a look", "no command of this project is named"),
        ("by how much?", "by how much.", "open question 2 is no question"),
        ("3. Which of", "Which of", "there are 2 list items under Open questions"),
    ],
)
def test_a_report_hears_what_it_lacks(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in REPORT
    assert words in failure(tmp_path, REPORT.replace(old, new, 1))


@needs_vllm
def test_order_and_roles_are_judged_and_not_the_words(tmp_path: Path) -> None:
    """A page of the right form that says nothing fails, and so does the right page in another order."""
    filler = re.sub(r"(?<=[:;,.] )[a-z][^`\n]*", lambda match: "bla " * len(match[0].split()), REPORT)
    steps = REPORT.replace("2. front end", "9. front end").replace("3. front end", "2. front end")
    second, third = re.findall(r"^[29]\. front end.*?(?=^\d)", steps, re.M | re.S)
    swapped = steps.replace(second + third, third + second)
    for text, words in ((filler + "bla " * 220, "that is filler"), (swapped, "the recorded request had left")):
        assert words in failure(tmp_path, text)


@needs_vllm
def test_a_report_may_be_in_chinese_whose_words_have_no_spaces_between_them() -> None:
    assert [message for message in messages(7, SOLUTIONS / "day_7_zh.md") if isinstance(message, Failed)] == []
    assert len(CHINESE.split()) < day_7.WORDS[0] < len(day_7.words(CHINESE)) < day_7.WORDS[1]


@needs_vllm
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("## Open questions", "模型在设备上算，请求在队列里等。" * 90 + "\n\n## Open questions", "more than a page"),
        ("4. core 输入，", "4. 另一个进程，", "step 4 does not begin with its role"),
        ("6. worker，", "6. 前端，", "step 6: Worker.sample_tokens ran in the role worker, not front end"),
        ("有一个输出就交出一个，调用方读得慢，耽误的也只是自己。", "", "words say too little"),
        ("先清空哪一个？", "先清空哪一个。", "open question 3 is no question"),
    ],
)
def test_a_chinese_report_hears_what_it_lacks(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in CHINESE
    assert words in failure(tmp_path, CHINESE.replace(old, new, 1))


@needs_vllm
def test_chinese_filler_is_filler(tmp_path: Path) -> None:
    filler = re.sub(r"(?<=[：；。，])[\u4e00-\u9fff ]+", lambda match: "啦" * len(match[0]), CHINESE)
    for text, words in ((filler + "啦" * 220, "different ones"), (CHINESE + "啦" * 220, "words are '啦啦'")):
        reason = failure(tmp_path, text)
        assert words in reason and "that is filler" in reason


def test_two_chinese_characters_are_a_word_and_so_is_what_stands_between_spaces() -> None:
    assert day_7.words("前端，core 输入：把请求写进 `socket`, 用 6.0 ms。") == [
        *("前端", "core", "输入", "把请", "求写", "进", "socket`,", "用", "6.0", "ms")
    ]
    assert day_7.words(REPORT)[:4] == ["Where", "a", "request", "is"]
