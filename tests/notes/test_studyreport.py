"""The reading report of day 7 hears what it lacks, and is judged by order and roles and not by its words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from notes.study.messages import Failed
from tests.needs import needs_vllm
from tests.notes.studyfiles import SOLUTIONS, messages

REPORT = (SOLUTIONS / "day_7.md").read_text()


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
    path = tmp_path / "report.md"
    path.write_text(REPORT.replace(old, new, 1))
    failures = [message for message in messages(7, path) if isinstance(message, Failed)]
    assert len(failures) == 1 and words in failures[0].reason


@needs_vllm
def test_order_and_roles_are_judged_and_not_the_words(tmp_path: Path) -> None:
    """A page of the right form that says nothing fails, and so does the right page in another order."""
    path = tmp_path / "report.md"
    filler = re.sub(r"(?<=[:;,.] )[a-z][^`\n]*", lambda match: "bla " * len(match[0].split()), REPORT)
    steps = REPORT.replace("2. front end", "9. front end").replace("3. front end", "2. front end")
    second, third = re.findall(r"^[29]\. front end.*?(?=^\d)", steps, re.M | re.S)
    swapped = steps.replace(second + third, third + second)
    for text, words in ((filler + "bla " * 220, "that is filler"), (swapped, "the recorded request had left")):
        path.write_text(text)
        failures = [message for message in messages(7, path) if isinstance(message, Failed)]
        assert len(failures) == 1 and words in failures[0].reason
