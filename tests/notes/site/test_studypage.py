"""A page of the study plan on the site: its places lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from notes.site import excerptblock, studypage
from tests.notes.smallnotes import small_tree
from tracing.source.tree import SourceTree

TEXT = "read `vllm/engine.py:Engine.step` (line 2), then `vllm/engine.py:Engine.run` (line 9)"
STOPS = {"vllm.engine:Engine.step": "01-engine.md#one-step"}


@pytest.mark.parametrize(
    ("version", "second"),
    [
        ("1.2.3", "[`vllm/engine.py:Engine.run`](https://github.com/vllm-project/vllm/blob/v1.2.3/vllm/engine.py#L9)"),
        ("1.2.3.dev4", "`vllm/engine.py:Engine.run`"),
    ],
)
def test_a_place_leads_to_its_stop_or_to_its_release(tmp_path: Path, version: str, second: str) -> None:
    root = small_tree(tmp_path).root
    (root / "_version.py").write_text(f'__version__ = "{version}"\n')
    first = "[`vllm/engine.py:Engine.step`](../walkthrough/01-engine.md#one-step)"
    linked = studypage.linked(TEXT, STOPS, SourceTree.find(root.parent))
    assert linked == f"read {first} (line 2), then {second} (line 9)"


def test_a_place_in_chinese_leads_there_too(tmp_path: Path) -> None:
    linked = studypage.linked("读 `vllm/engine.py:Engine.step` (第 2 行)", STOPS, small_tree(tmp_path))
    assert linked == "读 [`vllm/engine.py:Engine.step`](../walkthrough/01-engine.md#one-step) (第 2 行)"


def test_what_is_no_place_stays(tmp_path: Path) -> None:
    text = "`vllm/gone.py:Gone` (not in 1.2.3), `python -m vllm` and vllm/engine.py:Engine.step (line 2)"
    assert studypage.linked(text, STOPS, small_tree(tmp_path)) == text


def test_a_section_has_the_code_of_the_places_that_it_is_the_first_to_name(tmp_path: Path) -> None:
    text = (
        "# A day\n\nRead `vllm/engine.py:Engine.step` (line 2), `vllm/engine.py:Engine.schedule` (line 10) and "
        "`vllm/gone.py:Gone` (line 1).\n\n## Say\n\nAgain: `vllm/engine.py:Engine.step` (line 2)."
    )
    (first, code), (second, nothing) = studypage.sections(text, small_tree(tmp_path))
    assert first + second == text and nothing == ""
    names = re.findall(r"<summary><code>(.*?)</code> (.*?)</summary>", code)
    assert names == [("Engine.step", "vllm/engine.py:2"), ("Engine.schedule", "vllm/engine.py:10")]
    assert "\n" not in code.strip()  # Markdown leaves a line of HTML as it is


def test_of_a_long_definition_the_beginning_is_shown_and_all_can_be_unfolded(tmp_path: Path) -> None:
    root = small_tree(tmp_path).root
    lines = ["def long():", *(f"    step_{number}()" for number in range(98)), "    last()"]
    (root / "long.py").write_text("\n".join(lines))
    place = SourceTree.find(root.parent).find_place("vllm.long:long")
    html = excerptblock.definition(place)  # type: ignore[arg-type]
    seen, _, folded = html.partition('<details class="fold"><summary>⋯ 76 lines</summary>')
    assert html.count('class="row"') == 100 and seen.count('class="row"') == 24 and "last" in folded
