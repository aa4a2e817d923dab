"""The notes in Chinese: every paragraph has its counterpart, and what a counterpart may not differ in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notes.translation import __main__ as command
from notes.translation import counterparts, editions, terms, texts
from notes.translation.paragraphs import Passage, anchor, key, paragraphs, pieces, translated
from probes.errors import EnginescopeError
from tests.notes.smallnotes import ROOT

ENGLISH = """+++
title = "The \\"engine\\""
summary = "It steps."
+++

# Steps

It takes a batch,
and runs it.

```stop
name = "one-step"
```

- first
- second

| a | b |
| --- | --- |
| one | two |
<!--has vllm/engine.py:Engine.step: batch-->
"""
LINES = (
    *("", " ", "# A", "## A", "words", "more words", "- item", "  - inner", "1. first", "> said", "| a | b |"),
    *("| --- | --- |", "```stop", "```", "+++", 'title = "A \\"b\\""', 'summary = "C"', 'name = "d"', "<!-- c -->"),
    "[中文](README.zh.md)",
)


def test_every_paragraph_has_its_counterpart() -> None:
    done = subprocess.run([sys.executable, "-m", "notes.translation"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "every paragraph has its counterpart\n")


def test_the_chinese_readme_is_current() -> None:
    """`python -m notes.translation --readme` writes it."""
    assert texts.README_FILES["zh"].read_text() == texts.readme("zh")


def test_the_two_readmes_lead_to_each_other_at_their_top() -> None:
    for language, path in texts.README_FILES.items():
        assert path.read_text().splitlines()[1] == texts.SWITCHES[language]


# --- pieces ---


def test_the_paragraphs_of_a_text() -> None:
    assert [piece.text for piece in paragraphs(ENGLISH)] == [
        *('The "engine"', "It steps.", "# Steps", "It takes a batch,\nand runs it.", "- first\n- second"),
        *("| a | b |", "| one | two |"),
    ]


def test_a_paragraph_is_the_same_however_its_lines_are_broken() -> None:
    assert key("It takes a batch,\nand runs it.") == key("It takes a  batch, and\nruns it.") != key("It takes a batch.")


@given(st.lists(st.sampled_from(LINES) | st.text(st.characters(codec="utf-8", exclude_characters='\n="<'))))
def test_the_pieces_of_a_text_are_the_text(lines: list[str]) -> None:
    text = "\n".join(lines)
    assert "\n".join(piece.shown(piece.text) if piece.key else piece.text for piece in pieces(text)) == text
    assert translated(text, {piece.key: piece.text for piece in paragraphs(text)}) == text
    assert all(piece.key == key(piece.text) for piece in pieces(text) if piece.key)


def test_what_has_no_counterpart_stands_in_english() -> None:
    chinese = translated(ENGLISH, {key('The "engine"'): '"引擎"', key("- first\n- second"): "- 一\n- 二"})
    assert 'title = "\\"引擎\\""\nsummary = "It steps."' in chinese
    assert "and runs it.\n" in chinese and "\n- 一\n- 二\n" in chinese and "<!--has" not in chinese


def test_a_heading_has_the_id_of_the_english_one() -> None:
    text = "# What vLLM is\n\n## `a_b`, and [more](x.md#y)\n\n## What vLLM is\n"
    known = {key("# What vLLM is"): "# vLLM 是什么", key("## What vLLM is"): "## vLLM 是什么"}
    assert translated(text, known, anchored=True).split("\n\n") == [
        "# vLLM 是什么 { #what-vllm-is }",
        "## `a_b`, and [more](x.md#y) { #a_b-and-more }",
        "## vLLM 是什么 { #what-vllm-is_1 }\n",
    ]


@pytest.mark.parametrize(("heading", "name"), [("## Café: 1, 2 - 3", "cafe-1-2-3"), ("# 中文", "")])
def test_an_id_is_made_of_letters_and_digits(heading: str, name: str) -> None:
    assert anchor(heading) == name


# --- counterparts ---


def problems(english: str, words: str) -> list[str]:
    return [*counterparts.problems(english, {key(english): words})]


@pytest.mark.parametrize(
    ("english", "words", "problem"),
    [
        ("Call `generate` of the engine.", "调用引擎的 `generate`。", ""),
        ("Call `generate` of the engine.", "调用引擎的 generate。", "differs in code"),
        ("It took {{decode}} here.", "这里用了 5 ms。", "differs in marks"),
        ("See [there](a.md) for more.", "更多见[那里](b.md)。", "differs in marks"),
        ("See chapters 5 and 6 for more.", "更多见第 5 章和第 6 章。", ""),
        ("See chapter 5 for more.", "更多见第 6 章。", "names other chapters"),
        ("| one | two |", "| 一 | 二 | 三 |", "another number of cells"),
        ("- one\n- two", "- 一", "differs in form"),
        ("## A new heading", "一个新标题", "differs in form"),
        ("It is not yet written.", "It is not yet written.", "is not in Chinese"),
        ("`vllm serve`", "`vllm serve`", ""),
        ("It is cut here.", "这里断\n开了。", "breaks a line inside a sentence"),
        ("It is cut here.", "这里断开，\nvLLM 继续。", ""),
        ("It stops, here.", "它停了,在这里。", "half-width punctuation"),
        ("It stops: `a, b`.", "它停在`a,b`。", "differs in code"),
    ],
)
def test_what_a_counterpart_may_not_differ_in(english: str, words: str, problem: str) -> None:
    differences = problems(english, words)
    assert differences == [] if not problem else any(problem in line for line in differences), differences


def test_a_changed_paragraph_is_to_be_read_again() -> None:
    known = {piece.key: piece.text for piece in paragraphs("One.\n\nTwo.\n")}
    changed = "One.\n\nTwo again.\n"
    assert [line.partition(" ")[2] for line in counterparts.problems(changed, known)] == [
        "has no counterpart: Two again.",
        "is the counterpart of no paragraph: Two.",
    ]
    again = counterparts.reread(changed, known)
    assert [*again.values()] == ["One.", "Two."] and [*counterparts.problems(changed, again)] == []
    with pytest.raises(EnginescopeError, match="2 paragraphs without a counterpart, 1 counterparts of none"):
        counterparts.reread(changed + "\nThree.\n", known)


def test_the_order_is_that_of_the_english_text() -> None:
    known = {piece.key: piece.text for piece in paragraphs("Two.\n\nOne.\n")}
    assert [*counterparts.problems("One.\n\nTwo.\n", known)] == [
        "the paragraphs stand in another order than in the English text"
    ]


def test_a_file_of_counterparts_is_read_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "text.md"
    path.write_text(counterparts.skeleton(ENGLISH, {key("# Steps"): "# 步骤"}))
    known = counterparts.read(path)
    assert [*known] == [piece.key for piece in paragraphs(ENGLISH)] and known[key("# Steps")] == "# 步骤"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Words.\n<!-- 00000000 -->\n词\n", "before the first"),
        ("<!-- 00000000 -->\n一\n<!-- 00000000 -->\n二\n", "two counterparts"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "text.md").write_text(text)
    with pytest.raises(EnginescopeError, match=problem):
        counterparts.read(tmp_path / "text.md")


# --- terms ---


def test_a_term_has_its_word(tmp_path: Path) -> None:
    table = "| term | 中文 | 也可以写 | 保留英文 |\n| --- | --- | --- | --- |\n| KV block | KV block | KV 块 | 是 |\n"
    (tmp_path / "terms.md").write_text(table)
    rows = terms.read(tmp_path / "terms.md")
    for words, expected in (("每个 kv block", []), ("每个 KV 块", []), ("每个块", ["lacks KV block or KV 块"])):
        lines = terms.problems("Of all KV blocks.", {key("Of all KV blocks."): words}, rows)
        assert [line.partition(" ")[2].partition(" for")[0] for line in lines] == expected
    assert [*terms.problems("Of `KV block` alone.", {key("Of `KV block` alone."): "它自己"}, rows)] == []
    (tmp_path / "terms.md").write_text(table + "| too | few |\n")
    with pytest.raises(EnginescopeError, match="2 cells, not 4"):
        terms.read(tmp_path / "terms.md")


# --- the command ---


@pytest.fixture
def day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only text of some notes."""
    path = tmp_path / "study" / "day-1.md"
    path.parent.mkdir()
    path.write_text("It takes every request.\n")
    (tmp_path / "zh").mkdir()
    (tmp_path / "zh" / "terms.md").write_text("| term |\n| --- |\n| request | 请求 | | 否 |\n")
    monkeypatch.setattr(texts, "sources", lambda: {"study/day-1": path})
    monkeypatch.setattr(editions, "FOLDER", tmp_path)
    return path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["notes.translation", *arguments])
    return command.main()


def test_from_no_counterpart_to_one_that_is_read_again(
    day: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chinese = editions.counterpart("study/day-1", "zh")
    assert run(monkeypatch) == 1 and "no counterpart" in capsys.readouterr().out
    assert run(monkeypatch, "--begin", "study/day-1") == 0 and "is not in Chinese" not in capsys.readouterr().out
    assert run(monkeypatch) == 1 and "is not in Chinese" in capsys.readouterr().out
    chinese.write_text(chinese.read_text().replace("It takes every request.", "它接受每个请求。"))
    assert run(monkeypatch) == 0
    day.write_text("It takes each request.\n")
    assert run(monkeypatch) == 1
    assert run(monkeypatch, "--reread", "study/day-1") == 0 and run(monkeypatch) == 0
    assert editions.text(day, "zh") == "它接受每个请求。\n" and editions.text(day, "en") == "It takes each request.\n"


def test_a_text_that_is_not_there_is_refused(day: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EnginescopeError, match="the texts are study/day-1"):
        run(monkeypatch, "--begin", "study/day-9")
    with pytest.raises(EnginescopeError, match="the texts are study/day-1"):
        run(monkeypatch, "study/day-9")


@pytest.mark.parametrize("words", [("--begin", "study/day-1", "study/day-2"), ("--readme", "study/day-1")])
def test_what_would_be_left_out_is_refused(day: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    with pytest.raises(EnginescopeError, match=f"{words[-1]}: --begin and --reread take one text, --readme none"):
        run(monkeypatch, *words)


def test_an_entry_of_the_front_matter_is_quoted_again() -> None:
    assert Passage("It", key("It"), "title").shown('"它"') == 'title = "\\"它\\""'
