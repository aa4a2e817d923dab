"""A page of the study plan on the site: its places lead somewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from notes.site import studypage
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
