"""Odd anchors and odd trees: always a verdict or a clear line, and never a file read outside the tree."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from notes.walkthrough import chapters
from notes.walkthrough.anchors import Anchor, judge
from notes.walkthrough.fragment import Fragment
from probes.errors import USAGE, EnginescopeError
from tests.tracing.source.test_source_faults import NAMES, ODD, Opened, opened, traps  # noqa: F401  (the last two are fixtures)
from tracing.source.tree import SourceTree

CODE = st.sampled_from(
    ("sell", "self", "f", "key", "x = 1", "(", ")", ".", ",", " ", "\n", "\0", "'", '"', "\\", ":", "if ", "await ")
)
FRAGMENTS = st.lists(CODE, max_size=8).map("".join) | st.text(max_size=30) | st.just("def sell(self): ...")
TARGETS = st.text(max_size=40) | ODD | st.builds("vllm.{}:{}".format, NAMES, NAMES)


@given(target=TARGETS, text=FRAGMENTS)
@example("vllm.shop:Shop.sell", "...")
@example("vllm.folder.secret:key", "...")
@example("vllm.link:key", "...")
@example("vllm.../../etc/passwd:x", "x")
@example("vllm.nested:x", "-" * 100 + "1")
@settings(deadline=None, max_examples=300)
def test_any_anchor_is_judged_or_refused(traps: Path, opened: Opened, target: str, text: str) -> None:  # noqa: F811
    try:
        anchor = Anchor(target, Fragment(text))
    except EnginescopeError as error:
        assert error.code == USAGE and "\n" not in str(error) and str(error).startswith("fragment ")
        return
    opened.paths, opened.looking = [], True
    try:
        verdict = judge(anchor, SourceTree.find(traps), SourceTree.find(traps))
    finally:
        opened.looking = False
    assert verdict.standing in ("holds", "moved", "gone")
    assert verdict.standing == "holds" or verdict.reason
    assert opened.outside(traps) == []


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("vllm.link:key", "leads out of the tree"),
        ("vllm.torn:f", "is not Python that this Python reads"),
        ("../../etc/passwd:x", "is not a target"),
        ("vllm.shop:Shop.sell:again", "is not a target"),
        ("os.path:join", "is not in vllm"),
    ],
)
def test_what_cannot_resolve_is_gone_with_a_reason(traps: Path, target: str, words: str) -> None:  # noqa: F811
    verdict = judge(Anchor(target, Fragment("x")), SourceTree.find(traps))
    assert verdict.standing == "gone" and words in verdict.reason


PIECES = ("+++\n", 'title = "t"\n', 'summary = "s"\n', "```stop\n", "```\n", 'name = "n"\n', 'fragment = "f()"\n')
MORE = ('anchor = "vllm.shop:Shop.sell"\n', "anchor = 3\n", "role = 'core'\n", "# head\n", "words\n", "name = \n", "\0")
CHAPTER = '+++\ntitle = "t"\nsummary = "s"\n+++\n'


@given(text=st.lists(st.sampled_from(PIECES + MORE), max_size=12).map("".join), front=st.booleans())
@settings(deadline=None, max_examples=300)
def test_any_chapter_is_read_or_refused_with_its_line(
    tmp_path_factory: pytest.TempPathFactory, text: str, front: bool
) -> None:
    path = tmp_path_factory.mktemp("notes") / "01-any.md"
    path.write_text(CHAPTER + text if front else text)
    try:
        chapter = chapters.read_chapter(path)
    except EnginescopeError as error:
        assert error.code == USAGE and str(error).startswith("01-any.md:") and "\n" not in str(error)
    else:
        assert all(stop.anchor.fragment.text == "f()" for stop in chapter.stops)
