"""The fixed words of pages and commands: each that is said has its Chinese, and the table has no others."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

from notes.site import edgepage, frontpage, processmap, sequence
from notes.site.deployment import drawn, layouts, stops
from notes.study import texts
from notes.tables import pages, story
from notes.translation import labels
from notes.translation.labels import IN_ENGLISH, Labels
from notes.translation.paragraphs import HEADING, pieces
from notes.walkthrough.claims.judgement import TO_FIX
from notes.walkthrough.edges import KINDS
from tests.notes.smallnotes import ROOT
from tracing.sites.site import ROLES

CHINESE = Labels(
    "zh",
    {"calls": "调用", "Tables": "表格", "{count} of {all}": "{all} 中的 {count}"},
    {"{count} pages of {name}": "{name} 的 {count} 页"},
)
SAYING = sorted(path for room in ("site", "study", "tables") for path in (ROOT / "notes" / room).rglob("*.py"))


def said_in(path: Path) -> Iterator[str]:
    """What a module has said: every first argument of `say`, a text or a constant of the module."""
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Name(id="say"), args=[ast.Constant(value=str(words))]):
                yield words
            case ast.Call(func=ast.Name(id="say"), args=[ast.Name(id=name)]) if isinstance(
                value := getattr(module, name, None), str
            ):
                yield value


def said_of_data() -> Iterator[str]:
    """What is said that stands in tables of the modules: boxes and arrows, media, subjects, roles, standings."""
    more = (layouts.WITH_WORKER, *layouts.COORDINATOR)
    for box in (*processmap.PROCESSES, *processmap.PARTS, *more):
        yield from filter(None, (box.name, box.words))
    yield layouts.CALL
    yield from (*drawn.DEPLOYMENTS.values(), *drawn.OTHER_SHAPES.values())
    yield from (*stops.PROCESS_NAMES.values(), *KINDS, edgepage.TITLE)
    yield from (arrow.carrier for arrow in processmap.ARROWS)
    yield from (message.medium for message in sequence.MESSAGES.values())
    yield from (subject for subject, _, _ in frontpage.SUBJECTS)
    yield from (*frontpage.START, *ROLES, *TO_FIX, *pages.PARTS, *texts.LOOKED_UP)
    yield from (frontpage.NAME, sequence.A_REQUEST, sequence.A_STEP)


def keys(words: str) -> Iterator[str]:
    """The entries of the table that words are looked up by."""
    for piece in pieces(words):
        if piece.key:
            yield " ".join(HEADING.sub("", piece.text).split())


def test_every_label_has_its_chinese_and_every_entry_is_said() -> None:
    phrases = {
        key for words in (*said_of_data(), *(w for path in SAYING for w in said_in(path))) for key in keys(words)
    }
    table = labels.read("zh").words
    assert sorted(phrases - table.keys()) == []
    assert sorted(table.keys() - phrases) == []


def test_what_other_rooms_make_is_made_so() -> None:
    source = (ROOT / "tracing" / "page" / "sections.py").read_text() + str(story.read())
    for pattern in labels.read("zh").patterns:
        words, _, rest = pattern.partition("{")
        assert words.strip() in source or rest.partition("} ")[2] in source, pattern


def test_a_label_keeps_the_values_of_its_english_one() -> None:
    chinese = labels.read("zh")
    for english, words in (*chinese.words.items(), *chinese.patterns.items()):
        assert sorted(re.findall(r"\{\w+\}", english)) == sorted(re.findall(r"\{\w+\}", words)), english


def test_words_are_looked_up_paragraph_by_paragraph() -> None:
    assert CHINESE("calls") == "调用" and CHINESE("unknown") == "unknown"
    assert CHINESE("{count} of {all}", count=2, all=3) == "3 中的 2"
    assert CHINESE("## Tables\n\ncalls") == "## 表格 { #tables }\n\n调用"
    assert IN_ENGLISH("## Tables\n\n{count} of {all}", count=2, all=3) == "## Tables\n\n2 of 3"


def test_a_phrase_of_another_room_is_known_by_its_pattern() -> None:
    assert CHINESE.phrase("2 pages of a book") == "a book 的 2 页"
    assert CHINESE.phrase("## 2 pages of a book") == "## a book 的 2 页 { #2-pages-of-a-book }"
    assert CHINESE.phrase("2 of 3") == "2 of 3" and IN_ENGLISH.phrase("2 pages of a book") == "2 pages of a book"
