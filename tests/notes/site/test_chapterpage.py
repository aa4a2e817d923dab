"""A page of the notes: a stop with its source, its figures and its links, on a source tree of one module."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from notes.site import chapterpage, excerptblock
from notes.site.chapterpage import Figures
from notes.site.sitetimes import SiteTime
from notes.translation import labels
from notes.walkthrough import chapters as walkthrough
from notes.walkthrough.anchors import Anchor, judge
from notes.walkthrough.fragment import Fragment
from probes.errors import EnginescopeError
from tests.notes.smallnotes import QUOTES, small_tree, two_chapters
from tracing.source.tree import SourceTree


@pytest.fixture
def tree(tmp_path: Path) -> SourceTree:
    return small_tree(tmp_path)


@pytest.fixture
def chapters(tmp_path: Path) -> tuple[walkthrough.Chapter, ...]:
    return two_chapters(tmp_path)


def test_an_excerpt_has_the_head_the_fragment_marked_and_the_numbers_of_the_file(
    chapters: tuple[walkthrough.Chapter, ...], tree: SourceTree
) -> None:
    html = excerptblock.source(judge(chapters[0].stops[0].anchor, tree))
    rows = [
        re.sub("<[^>]*>", "", row) for row in re.findall(r'<span class="row[^>]*>.*?(?=<span class="row|</code>)', html)
    ]
    assert rows[:3] == ["2def step(self):", '3    """Says nothing."""', "4    batch = self.schedule()"]
    assert re.findall(r'<span class="row marked"><i>(\d+)</i>', html) == ["4"]
    assert "<b>" not in html and "&lt;b&gt;" in html
    folded = re.findall(r'<details class="fold">.*?</details>', html)
    assert len(folded) == 1 and "Says nothing" in folded[0] and "<summary>⋯ 1 line</summary>" in folded[0]


def test_an_excerpt_of_what_stands_in_the_head_of_a_definition(tree: SourceTree) -> None:
    """Its body begins after the docstring, far below."""
    lines = "\n".join(f"    line {number}" for number in range(20))
    path = tree.root / "late.py"
    path.write_text(f'def late(\n    when=now(),\n):\n    """Says\n{lines}\n    """\n    return when\n')
    html = excerptblock.source(judge(Anchor("vllm.late:late", Fragment("now()")), tree))
    assert re.findall(r'<span class="row marked"><i>(\d+)</i>', html) == ["2"]


def test_a_page_tells_where_who_what_and_how_long(chapters: tuple[walkthrough.Chapter, ...], tree: SourceTree) -> None:
    figures = Figures(QUOTES, {"scheduler.schedule": SiteTime(7, 1500, 0.25)}, "a machine; vllm 1.2")
    html = chapterpage.page(chapters[0], chapters, tree, figures)
    assert "# 1. The <engine>" in html and "It steps &amp; stops." in html
    assert "{ #one-step .stop-name }" in html and "vllm/<wbr>engine.py:4" in html
    assert '<span class="role">core</span>' in html and "calls <code>Engine.schedule</code>" in html
    assert "github.com" not in html  # a tree without a version is no release
    assert "scheduler.schedule: <b>1.5 µs</b> at the median of 7 calls, 25.00% of a request's time" in html
    assert "a machine; vllm 1.2" in html
    assert '<span class="quoted" title="median over &lt;all&gt; steps">5.37 ms</span>' in html
    assert "[chapter 2](02-other.md), not chapter 9." in html


def test_a_page_in_chinese_has_the_same_stops_and_links(
    chapters: tuple[walkthrough.Chapter, ...], tree: SourceTree
) -> None:
    text = "见第 2 章，不是第 9 章。"
    chapter = replace(chapters[0], parts=(text, *chapters[0].stops))
    html = chapterpage.page(chapter, chapters, tree, Figures(QUOTES), labels.read("zh"))
    assert "见[第 2 章](02-other.md)，不是第 9 章。" in html
    assert "{ #one-step .stop-name }" in html and "调用 <code>Engine.schedule</code>" in html
    assert "在 vLLM unknown 里，这一处已经不在：" in html and "⋯ 1 行" in html


def test_a_call_leads_to_its_stop_and_a_place_to_its_release(
    chapters: tuple[walkthrough.Chapter, ...], tree: SourceTree
) -> None:
    (tree.root / "_version.py").write_text('__version__ = "1.2.3"\n')
    again = replace(chapters[0].stops[0], name="again", anchor=Anchor("vllm.engine:Engine.schedule", Fragment("[]")))
    more = walkthrough.Chapter("03-more", "More", "More.", (again,))
    html = chapterpage.page(chapters[0], (*chapters, more), SourceTree.find(tree.root.parent), Figures(QUOTES))
    assert 'calls <a href="03-more.html#again"><code>Engine.schedule</code></a>' in html
    assert (
        '<a href="https://github.com/vllm-project/vllm/blob/v1.2.3/vllm/engine.py#L4">vllm/<wbr>engine.py:4</a>' in html
    )


def write_long_function(tree: SourceTree) -> None:
    lines = "\n".join(f"    line_{number}()" for number in range(1000))
    (tree.root / "long.py").write_text(f"def long():\n{lines}\n")


def test_of_a_very_long_function_all_lines_can_be_unfolded_at_its_first_stop_and_those_near_at_others(
    tree: SourceTree,
) -> None:
    write_long_function(tree)
    verdict = judge(Anchor("vllm.long:long", Fragment("line_600()")), tree)
    first, other = excerptblock.source(verdict), excerptblock.source(verdict, whole="first-line")
    assert re.findall(r"<summary>(.*?)</summary>", first) == ["⋯ 593 lines", "⋯ 394 lines"]
    assert "line_300" in first and 'href="#' not in first
    before, after = re.findall(r"<summary>(.*?)</summary>", other)
    assert before == f"⋯ 593 lines, {2 * excerptblock.FOLDED} of them here" and after == "⋯ 394 lines"
    assert "line_599" in other and "line_300" not in other
    assert other.count('<a href="#first-line">All of them are at the first stop in this function.</a>') == 1


def test_a_later_stop_of_a_page_leads_to_the_whole_function(
    chapters: tuple[walkthrough.Chapter, ...], tree: SourceTree
) -> None:
    write_long_function(tree)
    stop, *_ = chapters[0].stops
    stops = [
        replace(stop, name=name, anchor=Anchor("vllm.long:long", Fragment(f"line_{at}()")), claims=())
        for name, at in (("one", 500), ("two", 800))
    ]
    html = chapterpage.page(replace(chapters[0], parts=tuple(stops)), chapters, tree, Figures(QUOTES))
    assert html.count('href="#one"') == 1 and 'href="#two"' not in html
    assert sum(f"line_{at}<" in html for at in range(300, 303)) == 3


def test_source_is_shown_as_it_is(chapters: tuple[walkthrough.Chapter, ...], tree: SourceTree) -> None:
    """What looks like one of the notes' own marks there is none."""
    shown = re.sub("<[^>]*>", "", chapterpage.page(chapters[0], chapters, tree, Figures(QUOTES)))
    assert "{{decode}} of chapter 2" in shown


def test_a_stop_that_does_not_hold_says_so(chapters: tuple[walkthrough.Chapter, ...], tree: SourceTree) -> None:
    assert chapterpage.unsound(chapters, tree) == ["gone"]
    assert '<p class="unsound">In vLLM unknown this place is gone' in chapterpage.page(
        chapters[0], chapters, tree, Figures(QUOTES)
    )


def test_a_claim_is_shown_and_named_where_it_is_false(
    chapters: tuple[walkthrough.Chapter, ...], tree: SourceTree
) -> None:
    claimed = "<ul><li><code>before self.run(batch)</code></li></ul>"
    page = chapterpage.page(chapters[0], chapters, tree, Figures(QUOTES))
    assert claimed in page and page.count('class="unsound"') == 1
    path = tree.root / "engine.py"
    path.write_text(path.read_text().replace("return self.run(batch)", "return batch"))
    page = chapterpage.page(chapters[0], chapters, SourceTree.find(tree.root), Figures(QUOTES))
    assert claimed in page and "is false: before self.run(batch): the other line is not there" in page


def test_a_value_that_was_not_measured_is_refused(chapters: tuple[walkthrough.Chapter, ...], tree: SourceTree) -> None:
    with pytest.raises(EnginescopeError, match="decode"):
        chapterpage.page(chapters[0], chapters, tree, Figures({}))
