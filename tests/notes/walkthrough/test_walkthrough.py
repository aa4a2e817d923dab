"""Chapters as they are read, and the walkthrough of this project: it holds, and no two of its places look alike."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from notes import measured, quotes
from notes.walkthrough import chapters
from notes.walkthrough.chapters import OVERVIEW, Stop
from notes.walkthrough.edges import edges, in_source
from probes.errors import EnginescopeError
from tests.needs import installed_vllm, needs_vllm
from tracing.sites.engine import SITES

ROOT = Path(__file__).resolve().parents[3]
CHAPTERS = chapters.read()
STOPS = tuple(chapters.stops(CHAPTERS))

CHAPTER = """\
+++
title = "A shop"
summary = "What it sells."
+++

First words.

```stop
name = "sell"
anchor = "vllm.shop:Shop.sell"
fragment = "self.pack(1)"
role = "core"
calls = "vllm.shop:Shop.pack"
```

It packs.

```python
# not a heading
```

## Next

Last words.
"""


def chapter(tmp_path: Path, text: str, name: str = "01-shop.md") -> chapters.Chapter:
    path = tmp_path / name
    path.write_text(text)
    return chapters.read_chapter(path)


def test_a_chapter_is_prose_and_stops(tmp_path: Path) -> None:
    read = chapter(tmp_path, CHAPTER)
    assert (read.name, read.title, read.summary) == ("01-shop", "A shop", "What it sells.")
    first, stop, last = read.parts
    assert (first, last) == ("First words.", "## Next\n\nLast words.")
    assert isinstance(stop, Stop)
    assert (stop.name, stop.role, stop.calls, stop.where) == ("sell", "core", "vllm.shop:Shop.pack", "01-shop.md:8")
    assert stop.text == "It packs.\n\n```python\n# not a heading\n```"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("+++\ntitle", "title", "01-shop.md:1: front matter is missing"),
        ('summary = "What it sells."\n', "", "01-shop.md:1: summary is missing"),
        ('fragment = "self.pack(1)"\n', "", "01-shop.md:8: fragment is missing"),
        ('"self.pack(1)"', '"self.pack("', "01-shop.md:8: fragment 'self.pack(' is not an expression"),
        ('"self.pack(1)"', '"a()\\nb()"', "is not one line"),
        ("calls =", "call =", "01-shop.md:8: unknown key 'call'; the keys are name, anchor"),
        ("calls =", "calls", "01-shop.md:9: not TOML"),
        ('"core"', '"kernel"', "stop 'sell': there is no role 'kernel'; roles: front end"),
        ('role = "core"', 'site = "core.stepp"', "there is no site 'core.stepp'"),
        ('role = "core"\n', "", "an edge needs the role"),
        ('name = "sell"', 'name = "sell it"', "a name is made of letters"),
        ('name = "sell"', "name = 1", "name must be text, not 1"),
        ("```\n\nIt packs", "\n\nIt packs", "01-shop.md:9: not TOML"),
    ],
)
def test_what_is_wrong_is_reported_with_its_line(tmp_path: Path, before: str, after: str, message: str) -> None:
    assert before in CHAPTER
    with pytest.raises(EnginescopeError) as error:
        chapter(tmp_path, CHAPTER.replace(before, after, 1))
    assert message in str(error.value)


def test_a_name_is_there_once(tmp_path: Path) -> None:
    for name in ("01-shop.md", "02-shop.md"):
        chapter(tmp_path, CHAPTER, name)
    with pytest.raises(EnginescopeError, match=r"02-shop\.md:8: stop 'sell' is at 01-shop.md:8 already"):
        chapters.read(tmp_path)


# --- this project's own ---


def run(*words: str) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "notes.check", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


@needs_vllm
def test_every_stop_and_edge_holds_in_the_installed_vllm() -> None:
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{len(STOPS)} stops, ") and f"{len(STOPS)} hold, nothing to fix" in done.stdout


@needs_vllm
def test_it_imports_nothing_of_vllm_and_nothing_heavy() -> None:
    code = (
        "import sys, notes.check\n"
        "sys.argv = ['notes.check']\n"
        "assert notes.check.main() == 0\n"
        "print({'vllm', 'torch', 'numpy', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "set()", done.stderr


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.name)
def test_a_fragment_is_at_one_place_of_its_function(stop: Stop) -> None:
    place = installed_vllm().resolve(stop.anchor.target)
    assert len(stop.anchor.fragment.find(place)) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.name)
def test_a_stop_claims_what_its_text_says(stop: Stop) -> None:
    assert len(set(stop.claims)) == len(stop.claims) >= 2


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.name)
def test_a_site_is_that_of_the_function_or_called_there_or_bound_by_an_edge(stop: Stop) -> None:
    """What is left, a site around the function, is for a trace to say, which needs an edge."""
    assert all(in_source(edge, installed_vllm()) == "" for edge in edges(stop))
    if stop.site and not any(edge.ends for edge in edges(stop)):
        targets = next(site.targets for site in SITES if site.name == stop.site)
        called = any(stop.anchor.fragment.names(target.rpartition(".")[2]) for target in targets)
        assert stop.anchor.target in targets or called


# --- what the notes quote ---


def test_every_quoted_value_is_in_the_summary_and_every_value_is_quoted() -> None:
    values = quotes.read().values
    assert {key for chapter in CHAPTERS for key in quotes.keys(chapter)} == set(values)
    for chapter in CHAPTERS:
        for part in chapter.parts:
            assert "{{" not in quotes.fill(part if isinstance(part, str) else part.text, values)


def test_a_measured_time_is_never_written_by_hand() -> None:
    for path in sorted(chapters.FOLDER.glob("*.md")):
        by_hand = re.findall(r"\d[\d.,]*\s?(?:ms|µs|us|ns|tok/s|tokens/s)\b", path.read_text())
        assert by_hand == [], path.name


@pytest.mark.parametrize(
    ("name", "call", "target"),
    [
        ("21-images", "llm.chat(", "vllm.entrypoints.llm:LLM.chat"),
        ("22-pooling", "llm.embed(", "vllm.entrypoints.pooling.offline:PoolingOfflineMixin.embed"),
    ],
)
def test_a_script_of_a_chapter_is_whole_and_what_it_calls_is_there(name: str, call: str, target: str) -> None:
    text = (chapters.FOLDER / f"{name}.md").read_text()
    [script] = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    compile(script, name, "exec")
    assert call in script and installed_vllm().find_place(target)
    assert re.search(r"Keep this as `(\w+\.py)`.*python -m tracing.record -- python \1 ", text, re.S)


def prose(name: str) -> str:
    """A chapter's text without its line breaks."""
    return " ".join((chapters.FOLDER / f"{name}.md").read_text().split())


@pytest.mark.parametrize(("script", "name"), [("batch_then_kill", "05-scheduler"), ("streams", "08-way-back")])
def test_the_answers_that_were_traced_are_as_long_as_the_text_says(script: str, name: str) -> None:
    [tokens] = re.findall(r"(?:got|answer of) (\d+) tokens", prose(name))
    assert f"max_tokens={tokens}," in (ROOT / "tests" / "engine" / "traced" / f"{script}.py").read_text()


def test_the_examples_of_cached_prefixes_are_whole_blocks() -> None:
    text = prose("06-kv-cache")
    prefix = r"blocks of (\d+) a shared prefix of (\d+) tokens saves (\d+) of them, with blocks of (\d+) it saves (\d+)"
    large, shared, saved, small, saved_small = map(int, re.search(prefix, text).groups())
    assert (saved, saved_small) == (shared // large * large, shared // small * small)
    twice = r"a prompt of exactly (\d+) tokens, sent twice with blocks of (\d+), finds (\d+)"
    length, size, found = map(int, re.search(twice, text).groups())
    assert found == (length - 1) // size * size  # the last token is computed again


def test_the_summary_names_its_machine_and_version() -> None:
    summary = quotes.read()
    for source in summary.traces.values():
        assert source.machine.cpu_model and source.machine.vllm and source.command
    for key, quote in summary.values.items():
        assert quote.text == quotes.readable(quote.value, quote.unit), key
    assert set(summary.values) == {quantity.key for quantity in measured.QUANTITIES}


def test_a_summary_is_read_as_it_was_written(tmp_path: Path) -> None:
    quotes.write(quotes.read(), tmp_path / "measured.json")
    assert (tmp_path / "measured.json").read_text() == quotes.PATH.read_text()


def test_a_summary_of_another_schema_is_refused_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "measured.json").write_text('{"schema": 1}')
    with pytest.raises(EnginescopeError, match=r"is of schema 1, not 2: write it again with python -m notes\.measured"):
        quotes.read(tmp_path / "measured.json")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (5_368_534, "ns", "5.37 ms"),
        (99_950, "ns", "100 µs"),
        (128_620_137, "ns", "129 ms"),
        (999, "ns", "999 ns"),
        (0.10401, "share", "10.4 %"),
        (165, "bytes", "165 bytes"),
    ],
)
def test_values_for_people(value: float, unit: quotes.Unit, text: str) -> None:
    assert quotes.readable(value, unit) == text


def test_a_key_that_is_not_there() -> None:
    with pytest.raises(EnginescopeError, match=r"quote \{\{nothing\}\}"):
        quotes.fill("takes {{nothing}}", {})


@pytest.mark.parametrize("read", CHAPTERS, ids=lambda read: read.name)
def test_a_chapter_is_of_readable_length_and_every_stop_says_something(read: chapters.Chapter) -> None:
    words = sum(len((part if isinstance(part, str) else part.text).split()) for part in read.parts)
    assert 400 <= words <= 1100
    assert 3 <= len(read.stops) <= (24 if read.number == OVERVIEW else 14)  # each of its twenty parts has one
    assert all(stop.text for stop in read.stops)
