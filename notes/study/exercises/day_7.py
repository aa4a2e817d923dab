"""Day 7, the reading report: one page whose places are in the source and whose figures have units."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Any

from notes.study.anchored import anchors, find_place
from notes.study.exercises import Exercise, expect
from tracing.source.definitions import Place
from tracing.source.tree import SourceTree

SECTIONS = ("What I read", "The main path", "What I measured", "Open questions")
WORDS = (250, 700)  # of one page
PLACES = 5
QUESTIONS = 3
STEPS = 5
FIGURE = re.compile(r"\d\s*(?:ns|µs|us|ms|s|%|tok/s|tokens|GiB|MiB|KiB|bytes)\b|\d\s*%")
COMMAND = re.compile(r"python -m ((?:probes|tracing|offline|notes)\.\w+)")
ITEM = re.compile(r"^\s*(?:\d+[.)]|[-*])\s+(.*)$", re.MULTILINE)


def sections(report: str) -> dict[str, str]:
    """The text under each `## heading`."""
    parts = re.split(r"^##\s+(.+?)\s*$", report, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def items(text: str) -> list[str]:
    """The list items of a section, each with the lines that go on with it."""
    starts = [match.start() for match in ITEM.finditer(text)]
    return [text[start:end].strip() for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def one_page(mine: Any) -> str:
    """it has a title, its four sections in order, and the length of a page"""
    report = mine.report
    expect(bool(re.search(r"^# \S", report, re.MULTILINE)), "there is no title", "a first line `# …`")
    headings = list(sections(report))
    for name in SECTIONS:
        expect(name in headings, f"there is no section `## {name}`", f"found: {', '.join(headings) or 'none'}")
    expect([name for name in headings if name in SECTIONS] == list(SECTIONS), "the sections stand in another order")
    words = len(report.split())
    expect(words >= WORDS[0], f"{words} words are too few for a page ({WORDS[0]} to {WORDS[1]})")
    expect(
        words <= WORDS[1], f"{words} words are more than a page ({WORDS[0]} to {WORDS[1]})", "leave out what is not new"
    )
    return f"{words} words"


def places(mine: Any) -> str:
    """it names at least five places of the installed vLLM, and all that it names are there"""
    tree = SourceTree.find()
    named = anchors(mine.report)
    for anchor in named:
        place = find_place(anchor, tree)
        expect(isinstance(place, Place), f"{place}")
    expect(
        len(named) >= PLACES,
        f"{len(named)} places are named, of the {PLACES} that a reader needs to follow you",
        "as `vllm/v1/engine/async_llm.py:AsyncLLM.generate`",
    )
    return f"{len(named)} places, all in vLLM {tree.version}"


def path(mine: Any) -> None:
    """the main path is told in at least five steps, most with their place"""
    steps = items(sections(mine.report)["The main path"])
    expect(len(steps) >= STEPS, f"The main path has {len(steps)} list items, not {STEPS}", "1. … 2. …")
    placed = sum(bool(anchors(step)) for step in steps)
    expect(placed >= STEPS - 1, f"of {len(steps)} steps only {placed} name a place", "where does each happen?")


def measured(mine: Any) -> str:
    """what was measured has figures with units, and the command that made them"""
    text = sections(mine.report)["What I measured"]
    figures = FIGURE.findall(text)
    expect(len(figures) >= 2, f"{len(figures)} figures with a unit are in it, not two", "12.3 ms, 45 tok/s, 80 %")
    commands = COMMAND.findall(text)
    expect(
        bool(commands), "no command of this project is named: who could measure it again?", "`python -m tracing.walk …`"
    )
    for name in commands:
        expect(find_spec(name) is not None, f"there is no command {name}")
    return f"{len(figures)} figures, by {', '.join(dict.fromkeys(commands))}"


def questions(mine: Any) -> None:
    """three questions are left open, as questions"""
    questions = items(sections(mine.report)["Open questions"])
    expect(len(questions) == QUESTIONS, f"there are {len(questions)} list items under Open questions, not {QUESTIONS}")
    for number, text in enumerate(questions, 1):
        expect("?" in text, f"open question {number} is no question", "one that a run or a file could answer")
        expect(len(text.split()) >= 6, f"open question {number} is too short to be looked into")


EXERCISES = (Exercise("report", (one_page, places, path, measured, questions)),)
