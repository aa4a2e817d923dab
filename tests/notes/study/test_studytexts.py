"""The study plan's texts hold against vLLM: every place, command and default that they name."""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest

from notes.study import judging, recording, texts
from notes.study.anchored import anchors, find_place
from notes.study.defaults import MARKER, stale
from notes.study.exercises import day_1, day_5, day_6, errorclasses
from notes.study.progress import PLACE, find_step
from notes.study.sourceclaims import GONE, HAS, untrue, without
from tests.needs import installed_vllm
from tests.notes.study.studyfiles import ROOT
from tracing.source.definitions import Place


@pytest.mark.parametrize("page", texts.PAGES)
def test_every_place_of_a_text_is_in_vllm(page: str) -> None:
    places = anchors(MARKER.sub("", without(texts.path(page).read_text())))
    assert places
    assert [anchor for anchor in places if not isinstance(find_place(anchor, installed_vllm()), Place)] == []


def test_every_place_of_ours_is_in_this_project() -> None:
    text = "".join(texts.path(page).read_text() for page in texts.PAGES)
    places = re.findall(r"`((?:probes|tracing|offline|notes)/[\w/]+\.py):(\w+)\.(\w+)`", text)
    assert len(places) >= 3
    for file, owner, method in places:
        [definition] = [
            node
            for node in ast.parse((ROOT / file).read_text()).body
            if isinstance(node, ast.ClassDef) and node.name == owner
        ]
        assert method in {
            node.name for node in definition.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }


def test_the_readme_counts_the_questions() -> None:
    count = texts.path(texts.QUESTIONS).read_text().count("\n## ")
    assert f"| {count} questions with an answer" in (ROOT / "notes" / "README.md").read_text()


@pytest.mark.parametrize("page", texts.PAGES)
def test_every_command_of_a_text_is_there(page: str) -> None:
    text = texts.path(page).read_text()
    commands = set(re.findall(r"python\s+-m\s+((?:probes|tracing|offline|notes)\.\w+)", text))
    assert {name for name in commands if find_spec(name) is None} == set()


@pytest.mark.parametrize("day", texts.DAYS)
def test_a_day_says_what_to_write(day: int) -> None:
    """Every exercise has its name in the text, and each day has the same three parts."""
    text = texts.path(str(day)).read_text()
    for exercise in judging.exercises(day):
        assert re.search(rf"`[^`]*\b{exercise.name}\b[^`]*`", text)
    parts = re.findall(r"^## (.*) \((\d+) minutes\)$", text, re.MULTILINE)
    assert parts == [("Read", "20"), ("Run and write", "70"), ("Say", "20")]
    assert f"python -m notes.study {day} " in text


def test_the_texts_list_what_their_exercises_ask_for() -> None:
    text = " ".join(texts.path("1").read_text().split())
    assert all(f"`{place}`" in text for place in day_1.ROLE_PLACES)
    assert all(f'`"{job}"`' in text for job in day_1.EVIDENCE) and all(f'`"{name}"`' in text for name in day_1.REQUIRED)
    assert all(f'`"{span.place}"`' in texts.path("3").read_text() for span in recording.read().abort)
    assert all(f'`"{station}"`' in texts.path("5").read_text() for station in day_5.STATIONS)


def test_the_errors_of_day_6_are_the_classes_of_day_4() -> None:
    rows = re.findall(r"^\| [^|]+ \| `(\w+)`", texts.path("4").read_text(), re.MULTILINE)
    assert set(rows) == set(errorclasses.CLASSES) == {"ok", *day_6.ERRORS}


@pytest.mark.parametrize(("page", "least"), [(texts.QUESTIONS, 15), ("parameters", 40)])
def test_quoted_defaults_are_those_of_the_installed_vllm(page: str, least: int) -> None:
    text = texts.path(page).read_text()
    assert len(MARKER.findall(text)) >= least
    assert stale(text, installed_vllm()) == []


@pytest.mark.parametrize("page", texts.PAGES)
def test_what_a_page_claims_of_the_source_is_so(page: str) -> None:
    text = texts.path(page).read_text()
    assert untrue(text, installed_vllm()) == []
    assert len(re.findall(r"<!--(?:has|gone) ", text)) == len([*HAS.finditer(text), *GONE.finditer(text)])


def test_no_gpu_and_no_server_before_day_six() -> None:
    """Until then a day's own commands need this project alone; what needs an engine is there for who has one."""
    for day in range(1, 6):
        own_part, _, _ = texts.path(str(day)).read_text().partition("Where vLLM runs on this machine")
        blocks = "".join(re.findall(r"^```\n(.*?)^```", own_part, re.M | re.S))
        commands = set(re.findall(r"python -m (\S+)", blocks))
        assert commands <= {"probes.batch", "probes.report", "notes.study"} and commands


def spoken(question: str) -> str:
    """The part of an answer that can be said: its quotation."""
    return " ".join(line[2:] for line in question.splitlines() if line.startswith("> "))


def test_every_question_has_a_minute_and_what_comes_next() -> None:
    _, *questions = re.split(r"^## ", texts.path(texts.QUESTIONS).read_text(), flags=re.M)
    assert len(questions) >= 30
    for question in questions:
        assert 105 <= len(spoken(question).split()) <= 165, question.partition("\n")[0]  # at 110 to 165 words a minute
        assert re.search(r"^\*They ask next:\* .*\?$", question, re.M), question.partition("\n")[0]


def test_the_questions_quote_the_learners_own_steps() -> None:
    names = PLACE.findall(texts.path(texts.QUESTIONS).read_text())
    assert len(names) >= 15 and [name for name in names if not find_step(name)] == []


@pytest.mark.parametrize(
    "topic",
    [
        "PagedAttention",
        "continuous batching",
        "prefix caching",
        "chunked prefill",
        "Tensor parallel against data parallel",
        "preemption",
        "KV cache is full",
        "Streaming or not",
        "normalized latency",
        "used an inference framework",
    ],
)
def test_a_question_is_there(topic: str) -> None:
    titles = re.findall(r"^## (.*)$", texts.path(texts.QUESTIONS).read_text(), re.M)
    assert any(topic in title for title in titles)


def test_the_tables_of_parameters_and_words_are_whole() -> None:
    """Each row has all its columns, and the parameters that a reader looks for are there."""
    for page in ("parameters", "glossary", "deployment"):
        for table in re.findall(r"(?:^\|.*\n)+", texts.path(page).read_text(), re.M):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    text = texts.path("parameters").read_text()
    flags = ("model", "tensor-parallel-size", "pipeline-parallel-size", "dtype", "max-model-len", "swap-space")
    flags += ("gpu-memory-utilization", "block-size", "enable-prefix-caching")
    assert [flag for flag in flags if f"| `--{flag}` |" not in text] == []
    sampling = ("temperature", "top_p", "top_k", "repetition_penalty", "max_tokens", "stop")
    assert [name for name in sampling if f"| `{name}` |" not in text] == []


def test_the_log_that_is_read_adds_up() -> None:
    """Blocks times their size are the tokens of the line, which are so many requests of full length."""
    text = texts.path("startup").read_text()
    blocks, size = (int(re.search(rf'{name}="(\d+)"', text)[1]) for name in ("num_gpu_blocks", "block_size"))
    tokens, length, requests = re.search(
        r"size: ([\d,]+) tokens, .*? for ([\d,]+) tokens per request: ([\d.]+)x", text
    ).groups()
    whole = int(tokens.replace(",", ""))
    assert blocks * size == whole and whole / int(length.replace(",", "")) == float(requests)


def unbroken(path: Path) -> str:
    """A text without its line breaks and marks of quotations."""
    return " ".join(path.read_text().replace("\n> ", " ").split())


def test_the_sum_of_the_kv_cache_is_the_same_wherever_it_stands() -> None:
    """The model's numbers, as the page on the log has them, make what the others say of a token and of a GiB."""
    startup, questions = unbroken(texts.path("startup")), unbroken(texts.path(texts.QUESTIONS))
    factors = r"(\d+) layers × (\d+) KV heads × (\d+) wide × (\d) \(key and value\) × (\d) bytes"
    layers, heads, width, both, width_bytes = map(int, re.search(factors, startup).groups())
    token_bytes = layers * heads * width * both * width_bytes
    fit, size = 2**30 // token_bytes, int(re.search(r'block_size="(\d+)"', startup)[1])
    blocks, tokens = fit // size, fit // size * size
    assert f"= {token_bytes:,} bytes a token, and 1 GiB / {token_bytes:,} = {fit:,} tokens" in startup
    assert f"which is {blocks} whole blocks of {size}" in startup
    assert f"{layers} layers, {heads} KV heads of width {width} and {8 * width_bytes}-bit numbers" in questions
    assert f"{token_bytes:,} bytes a token. A gibibyte is then {fit:,} tokens" in questions
    assert f"the engine reported {tokens:,}, which is {blocks} blocks of {size}" in questions
    chapter = unbroken(ROOT / "notes" / "walkthrough" / "06-kv-cache.md")
    assert f"{layers} layers × {both} × {heads} heads × {width} numbers" in chapter
    assert f"{width_bytes} bytes each, that is {token_bytes:,} bytes" in chapter
    assert f"one GiB holds {tokens:,} tokens, {blocks} blocks of {size}" in chapter


def test_the_longest_gap_of_day_5_is_that_of_the_recording() -> None:
    story = recording.read().first_token
    hops = [(before, after) for before, after in pairwise(story) if before.role != after.role]
    before, after = max(hops, key=lambda hop: hop[1].start_ns - hop[0].end_ns)
    done = f"the core's input thread is done at {before.end_ns / 1e6:.1f} ms"
    assert f"{done}, the core takes the request at {after.start_ns / 1e6:.1f} ms" in texts.path("5").read_text()


def test_quoted_tables_are_in_the_readmes() -> None:
    readme = [line for page in ROOT.glob("*/README.md") for line in page.read_text().splitlines()]
    text = texts.path(texts.QUESTIONS).read_text()
    rows = [
        line for table in re.findall(r"^```text README\n(.*?)^```", text, re.M | re.S) for line in table.splitlines()
    ]
    assert len(rows) >= 10
    assert [line for line in rows if line not in readme] == []
