"""Day 7, the reading report, English or Chinese: the main path and four points, held against a recorded run."""

from __future__ import annotations

import re
from collections import Counter
from importlib.util import find_spec
from itertools import groupby
from typing import Any

from notes.study import recording
from notes.study.anchored import anchors, find_place
from notes.study.exercises import Exercise, expect
from tracing.source.definitions import Place
from tracing.source.tree import SourceTree

SECTIONS = ("The main path", "Four points", "What I measured", "Open questions")
WORDS = (250, 700)  # of one page
DISTINCT = 0.33  # of all words, those that are different ones: prose has more than 0.4, filler next to nothing
COMMONEST = 0.15  # of all words, those that are the same one: of prose less than a tenth
FILES = ("async_llm", "core_client", "core")
# What a report may call each role; the longer name before its beginning.
ROLES = {
    "front end": ("front end", "前端"),
    "core input": ("core input", "core 输入", "core输入"),
    "core output": ("core output", "core 输出", "core输出"),
    "core": ("core",),
    "worker": ("worker",),
}
QUESTIONS = 3
STEPS = 6
POINT_WORDS = 15
UNITS = "ns|µs|us|ms|s|tok/s|tokens|GiB|MiB|KiB|bytes"
FIGURE = re.compile(rf"\d\s*(?:(?:{UNITS})(?![A-Za-z])|%|纳秒|微秒|毫秒|秒|字节|个 ?token)")
COMMAND = re.compile(r"python -m ((?:probes|tracing|offline|notes)\.\w+)")
ITEM = re.compile(r"^\s*(?:\d+[.)]|[-*])\s+(.*)$", re.MULTILINE)
# Two Chinese characters, or letters and digits up to a space, a Chinese character or its punctuation.
WORD = re.compile(r"[\u4e00-\u9fff]{1,2}|(?![\u4e00-\u9fff])\w[^\s\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]*")
# The four points, and the places in the three files of which one shows it.
POINTS = {
    "async generator": ("AsyncLLM.generate",),
    "background task": ("AsyncLLM._run_output_handler",),
    "abort": ("AsyncLLM.abort", "EngineCore.abort_requests"),
    "IPC": (
        "AsyncMPClient._send_input",
        "AsyncMPClient.get_output_async",
        "EngineCoreProc.process_input_sockets",
        "EngineCoreProc.process_output_sockets",
    ),
}


def sections(report: str) -> dict[str, str]:
    """The text under each `## heading`."""
    parts = re.split(r"^##\s+(.+?)\s*$", report, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def words(text: str) -> list[str]:
    """The words of a text. Chinese has no spaces between them: two characters count as one."""
    return WORD.findall(text)


def items(text: str) -> list[str]:
    """The list items of a section, each with the lines that go on with it."""
    starts = [match.start() for match in ITEM.finditer(text)]
    return [text[start:end].strip() for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def one_page(mine: Any) -> str:
    """it has a title, its four sections in order, and a page of words, not of one word"""
    report = mine.report
    expect(bool(re.search(r"^# \S", report, re.MULTILINE)), "there is no title", "a first line `# …`")
    headings = list(sections(report))
    for name in SECTIONS:
        expect(name in headings, f"there is no section `## {name}`", f"found: {', '.join(headings) or 'none'}")
    expect([name for name in headings if name in SECTIONS] == list(SECTIONS), "the sections stand in another order")
    all_words = words(report)
    count, by_word = len(all_words), Counter(word.strip(".,:;`").lower() for word in all_words)
    expect(count >= WORDS[0], f"{count} words are too few for a page ({WORDS[0]} to {WORDS[1]})")
    expect(
        count <= WORDS[1],
        f"{count} words are more than a page ({WORDS[0]} to {WORDS[1]})",
        "leave out what is not new",
    )
    expect(len(by_word) >= DISTINCT * count, f"only {len(by_word)} of {count} words are different ones: that is filler")
    word, times = by_word.most_common(1)[0]
    expect(times <= COMMONEST * count, f"{times} of {count} words are {word!r}: that is filler")
    return f"{count} words"


def three_files(mine: Any) -> str:
    """it names places of all three files, and all that it names are in the installed vLLM"""
    tree = SourceTree.find()
    names = anchors(mine.report)
    for anchor in names:
        place = find_place(anchor, tree)
        expect(isinstance(place, Place), f"{place}")
    for file in FILES:
        path = f"vllm/v1/engine/{file}.py:"
        expect(
            any(anchor.startswith(path) for anchor in names),
            f"no place of {path[:-1]} is named",
            f"`{path}Class.method`",
        )
    return f"{len(names)} places, all in vLLM {tree.version}"


def role_of(item: str) -> str:
    """The role with which a list item begins, or nothing."""
    text = re.sub(r"^(?:\d+[.)]|[-*])\s+", "", item).lstrip("*_ ").lower()
    return next((role for role, names in ROLES.items() if text.startswith(names)), "")


def place_of(item: str) -> str:
    """The first place of a list item that the recorded request passed on its way to the first token, or nothing."""
    recorded = recording.read()
    story = {span.place for span in recorded.first_token} & recorded.roles.keys()
    return next((name for anchor in anchors(item) if (name := anchor.partition(":")[2]) in story), "")


def path(mine: Any) -> str:
    """the main path begins and ends in the front end, and each step says who does it, as recorded"""
    steps = items(sections(mine.report)["The main path"])
    expect(len(steps) >= STEPS, f"The main path has {len(steps)} list items, not {STEPS}", "1. … 2. …")
    roles = recording.read().roles
    path_roles = []
    for number, step in enumerate(steps, 1):
        role = role_of(step)
        expect(bool(role), f"step {number} does not begin with its role", f"one of {', '.join(ROLES)}")
        place = place_of(step)
        expect(
            bool(place),
            f"step {number} names no place that the recorded request passed",
            "python -m notes.study recorded lists them",
        )
        expect(roles[place] == role, f"step {number}: {place} ran in the role {roles[place]}, not {role}")
        path_roles.append(role)
    expect(
        path_roles[0] == path_roles[-1] == "front end",
        "the path does not begin and end in the front end, where the caller is",
    )
    for role in ("core", "worker"):
        expect(role in path_roles, f"no step is the {role}'s: who computes?")
    return " → ".join(role for role, _ in groupby(path_roles))


def order(mine: Any) -> str:
    """the steps stand in the order in which the recorded request came to their places"""
    story = recording.read().first_token
    steps = items(sections(mine.report)["The main path"])
    began_ns = -1
    for number, step in enumerate(steps, 1):
        place = place_of(step)
        later = [span.start_ns for span in story if span.place == place and span.start_ns >= began_ns]
        expect(
            bool(later),
            f"step {number}: the recorded request had left {place} when it came to the step before",
            "python -m notes.study recorded has the order",
        )
        began_ns = later[0]
    return f"{len(steps)} steps, the last {began_ns / 1e6:.1f} ms after the first"


def points(mine: Any) -> None:
    """the four points are made, each at a place that shows it"""
    point_items = items(sections(mine.report)["Four points"])
    for point, places in POINTS.items():
        item = next((each for each in point_items if point.lower() in re.split("[:：]", each)[0].lower()), None)
        expect(item is not None, f"there is no item for the point {point}", f"- {point}: …")
        assert item is not None
        count = len(words(item))
        expect(count >= POINT_WORDS, f"{point}: {count} words say too little")
        names = [anchor.partition(":")[2] for anchor in anchors(item)]
        expect(
            any(name in places for name in names),
            f"{point}: its place is not named",
            "which function of the three files?",
        )


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
        expect(
            "?" in text or "？" in text,
            f"open question {number} is no question",
            "one that a run or a file could answer",
        )
        expect(len(words(text)) >= 6, f"open question {number} is too short to be looked into")


EXERCISES = (Exercise("report", (one_page, three_files, path, order, points, measured, questions)),)
