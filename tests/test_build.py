"""The site: its parts on a synthetic trace and a small source tree; the whole of it in a browser, opened from disk."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chromium import Page, chromium
from notes import chapterpage, days, excerptblock, sequence, site, tables, walkthrough
from notes.anchors import Anchor, judge
from notes.chapterpage import Figures
from notes.fragment import Fragment
from notes.sitetimes import SiteTime, _union, site_times
from notes.visits import course
from probes.errors import EnginescopeError
from test_budget import stream
from tracing.findings import Findings, findings
from tracing.source import SourceTree

ROOT = Path(__file__).resolve().parent.parent
NS = [1000 * (place + 1) for place in range(40)]
QUOTED = {"decode": {"text": "5.37 ms", "says": "median over <all> steps"}}
SOURCE = '''class Engine:
    def step(self):
        """Says nothing."""
        batch = self.schedule()
        text = "<b>" + """
        {{decode}} of chapter 2
        """
        return self.run(batch)

    def schedule(self):
        return []
'''
CHAPTER = """+++
title = "The <engine>"
summary = "It steps & stops."
+++

It took {{decode}}; see chapter 2, not chapter 9.

```stop
name = "one-step"
anchor = "vllm.engine:Engine.step"
fragment = "batch = self.schedule()"
role = "core"
site = "scheduler.schedule"
calls = "vllm.engine:Engine.schedule"
```

It takes a *batch*.

```stop
name = "gone"
anchor = "vllm.engine:Engine.wait"
fragment = "time.sleep(1)"
```

It waited.
"""


@pytest.fixture
def tree(tmp_path: Path) -> SourceTree:
    """A vLLM of one module."""
    package = tmp_path / "tree" / "vllm"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "engine.py").write_text(SOURCE)
    return SourceTree.find(package)


@pytest.fixture
def chapters(tmp_path: Path) -> tuple[walkthrough.Chapter, ...]:
    folder = tmp_path / "chapters"
    folder.mkdir()
    (folder / "01-engine.md").write_text(CHAPTER)
    (folder / "02-other.md").write_text('+++\ntitle = "Other"\nsummary = "More."\n+++\n\nWords.\n')
    return walkthrough.read(folder)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """One streamed request of three steps; every span's length is known."""
    folder = tmp_path_factory.mktemp("trace")
    stream(folder, NS, steps=3)
    return findings(folder)


# --- a stop ---


def test_an_excerpt_has_the_head_the_fragment_marked_and_the_numbers_of_the_file(
    chapters: tuple[walkthrough.Chapter, ...], tree: SourceTree
) -> None:
    made = excerptblock.source(judge(chapters[0].stops[0].anchor, tree))
    rows = [
        re.sub("<[^>]*>", "", row) for row in re.findall(r'<span class="row[^>]*>.*?(?=<span class="row|</code>)', made)
    ]
    assert rows[:3] == ["2def step(self):", "⋯", "4    batch = self.schedule()"]
    assert re.findall(r'<span class="row marked"><i>(\d+)</i>', made) == ["4"]
    assert "<b>" not in made and "&lt;b&gt;" in made
    assert "Says nothing" not in made


def test_an_excerpt_of_what_stands_in_the_head_of_a_definition(tree: SourceTree) -> None:
    """Its body begins after the docstring, far below."""
    lines = "\n".join(f"    line {number}" for number in range(20))
    path = tree.root / "late.py"
    path.write_text(f'def late(\n    when=now(),\n):\n    """Says\n{lines}\n    """\n    return when\n')
    made = excerptblock.source(judge(Anchor("vllm.late:late", Fragment("now()")), tree))
    assert re.findall(r'<span class="row marked"><i>(\d+)</i>', made) == ["2"]


def test_a_page_tells_where_who_what_and_how_long(chapters: tuple[walkthrough.Chapter, ...], tree: SourceTree) -> None:
    figures = Figures(QUOTED, {"scheduler.schedule": SiteTime(7, 1500, 0.25)}, "a machine; vllm 1.2")
    made = chapterpage.page(chapters[0], chapters, tree, figures)
    assert "# 1. The <engine>" in made and "It steps &amp; stops." in made
    assert "{ #one-step .stop-name }" in made and "vllm/<wbr>engine.py:4" in made
    assert '<span class="role">core</span>' in made and "calls <code>Engine.schedule</code>" in made
    assert "scheduler.schedule: <b>1.5 µs</b> at the median of 7 calls, 25.00% of a request's time" in made
    assert "a machine; vllm 1.2" in made
    assert '<span class="quoted" title="median over &lt;all&gt; steps">5.37 ms</span>' in made
    assert "[chapter 2](02-other.md), not chapter 9." in made


def test_source_is_shown_as_it_is(chapters: tuple[walkthrough.Chapter, ...], tree: SourceTree) -> None:
    """What looks like one of the notes' own marks there is none."""
    shown = re.sub("<[^>]*>", "", chapterpage.page(chapters[0], chapters, tree, Figures(QUOTED)))
    assert "{{decode}} of chapter 2" in shown


def test_a_stop_that_does_not_hold_says_so(chapters: tuple[walkthrough.Chapter, ...], tree: SourceTree) -> None:
    assert chapterpage.unsound(chapters, tree) == ["gone"]
    assert '<p class="unsound">In vLLM unknown this place is gone' in chapterpage.page(
        chapters[0], chapters, tree, Figures(QUOTED)
    )


def test_a_value_that_was_not_measured_is_refused(chapters: tuple[walkthrough.Chapter, ...], tree: SourceTree) -> None:
    with pytest.raises(EnginescopeError, match="decode"):
        chapterpage.page(chapters[0], chapters, tree, Figures({}))


# --- figures ---


def test_times_at_sites_are_those_of_the_trace(found: Findings) -> None:
    times = site_times(found)
    spans = found.timeline.spans
    schedules = spans[spans["site"] == "scheduler.schedule"]
    lengths = (schedules["end_ns"] - schedules["start_ns"]).sort_values().tolist()
    assert (times["scheduler.schedule"].calls, times["scheduler.schedule"].median_ns) == (3, lengths[1])
    assert times["scheduler.schedule"].share == pytest.approx(sum(lengths) / found.flows[0].latency_ns)
    assert "kv.lookup" not in times


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20))))
def test_what_intervals_cover_together(intervals: list[tuple[int, int]]) -> None:
    import numpy as np

    ordered = sorted(intervals)
    start = np.array([begin for begin, _ in ordered], dtype=np.int64)
    end = np.array([begin + length for begin, length in ordered], dtype=np.int64)
    assert _union(start, end) == len({point for begin, length in intervals for point in range(begin, begin + length)})


def test_a_course_goes_through_the_roles_in_their_order(found: Findings) -> None:
    made = course(found)
    assert made is not None and (made.request, made.steps, made.steps_counted) == ("a-1", 3, 3)
    assert [(visit.part, visit.role) for visit in made.visits] == [
        *(("way in", role) for role in ("front end", "core input", "core")),
        *(("step", role) for role in ("core", "worker", "core", "core output", "front end")),
    ]
    before, after = (visit for visit in made.visits if visit.part == "step" and visit.role == "core")
    assert [call.site for call in before.calls] == ["scheduler.schedule", "executor.dispatch"]
    assert [call.site for call in after.calls] == ["scheduler.update"]
    worker = next(visit for visit in made.visits if visit.role == "worker")
    assert [(call.site, call.depth) for call in worker.calls] == [
        *(("worker.execute", 0), ("runner.prepare", 1), ("runner.forward", 1)),
    ]
    back = made.visits[-1]
    assert [call.site for call in back.calls] == [
        *("client.receive", "output.process", "output.deliver", "async.generate"),
    ]
    assert made.between_ns["front end → core"] == found.review["hops"][0]["median_ns"]


# --- drawings ---


def test_the_sequence_has_every_call_and_message_and_leads_to_stops(found: Findings) -> None:
    made = course(found)
    assert made is not None
    svg = sequence.drawing(made, {"scheduler.schedule": "walkthrough/05.html#budget", "core.send": "never"})
    assert svg.count('class="stage"') == sum(len(visit.calls) for visit in made.visits)
    assert svg.count('class="message"') == len(made.visits) - 1
    assert svg.count('href="walkthrough/05.html#budget"') == 2  # the call, and the wait in its queue
    assert all(f">{role}</text>" in svg for role in ("front end", "core input", "core", "core output", "worker"))


def test_lanes_lead_to_stops(found: Findings) -> None:
    from tracing.sections import drawings

    plain, led = drawings(found), drawings(found, {"runner.forward": "x.html#forward"})
    assert "<a " not in "".join(svg for *_, svg in plain)
    assert all('<a href="x.html#forward">' in svg for *_, svg in led)


def test_links_lead_to_the_first_stop_of_a_site(chapters: tuple[walkthrough.Chapter, ...]) -> None:
    assert site.addresses(chapters) == {"scheduler.schedule": "walkthrough/01-engine.html#one-step"}


# --- the command ---


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "notes.build", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    done = run("--out", str(tmp_path))
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "--out" in done.stderr
    assert run("--out", str(tmp_path / "thesis.txt")).returncode == 2
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_folder_that_is_no_trace_is_one_line(tmp_path: Path) -> None:
    done = run("--trace", str(tmp_path), "--out", str(tmp_path / "site"))
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "tracing.record" in done.stderr
    assert not (tmp_path / "site").exists()


def test_a_link_that_leads_nowhere_is_no_site(tmp_path: Path, tree: SourceTree) -> None:
    (tmp_path / "n").mkdir()
    front = '+++\ntitle = "A"\nsummary = "B"\n+++\n\n'
    (tmp_path / "n" / "01-a.md").write_text(front + "See [there](02-b.md#nowhere).\n")
    (tmp_path / "n" / "02-b.md").write_text(front)
    with pytest.raises(EnginescopeError, match="nowhere"):
        site.build(walkthrough.read(tmp_path / "n"), tree, None, tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_without_a_trace_and_again_into_its_own_folder(
    tmp_path: Path, chapters: tuple[walkthrough.Chapter, ...], tree: SourceTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = {"cpu_model": "a chip", "cores_usable": 2, "vllm": "1.2"}
    summary = tmp_path / "measured.json"
    summary.write_text(json.dumps({"schema": 1, "traces": {"decode": {"machine": machine}}, "values": QUOTED}))
    monkeypatch.setattr("notes.measured.PATH", summary)
    out = tmp_path / "site"
    for _ in range(2):
        assert site.build(chapters, tree, None, out) == 3 + len(days.PAGES) + len(tables.read())
    text = (out / "index.html").read_text()
    assert "steps; a chip, 2 cores, vllm 1.2" in (out / "walkthrough" / "01-engine.html").read_text()
    assert "built without a trace" in text and '<svg viewBox="0 0 1120' not in text


# --- the whole site, as a reader has it ---


class Addresses(HTMLParser):
    """What a page refers to, what it loads, and the ids that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.ids |= {told["id"] or ""} if "id" in told else set()
        if told.get("href"):
            (self.loaded if tag == "link" else self.links).append(told["href"] or "")
        if told.get("src"):
            self.loaded.append(told["src"] or "")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, found: Findings) -> Path:
    """This project's own notes, as the command builds them from a trace."""
    out = tmp_path_factory.mktemp("whole") / "site"
    done = run("--trace", str(found.timeline.folder), "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Wrote {out / 'index.html'}: ")
    return out


@pytest.mark.slow
def test_no_link_is_broken_and_nothing_comes_from_the_web(built: Path) -> None:
    pages = {path: Addresses(path.read_text()) for path in built.rglob("*.html")}
    assert len(pages) > len(walkthrough.read())
    for path, page in pages.items():
        for address in (*page.links, *page.loaded):
            assert not urlsplit(address).scheme, f"{path.name} refers to {address}"
            file, fragment = urldefrag(address)
            target = (path.parent / unquote(file)).resolve() if file else path
            assert target.is_file(), f"{path.name} leads to {address}"
            assert not fragment or unquote(fragment) in pages[target].ids, f"{path.name} leads to {address}"
    for style in built.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//", style.read_text()), style.name


@pytest.mark.slow
def test_all_markdown_was_read(built: Path) -> None:
    """The notes are written for other readers of Markdown too, which take for a list what this one may not."""
    left = re.compile(r"```|\{\{|\*\*|\n(?:[-*|#]+|\d+\.) ")
    for path in built.rglob("*.html"):
        text = re.sub(r"<(pre|script|style|svg)\b.*?</\1>", "", path.read_text(), flags=re.DOTALL)
        assert not left.search(text), f"{path.name}: {left.search(text)}"


@pytest.mark.slow
def test_every_stop_has_its_place_on_a_page(built: Path) -> None:
    for chapter in walkthrough.read():
        page = Addresses((built / "walkthrough" / f"{chapter.name}.html").read_text())
        assert {stop.name for stop in chapter.stops} <= page.ids


@pytest.mark.browser
def test_the_site_in_a_browser(built: Path, tmp_path: Path) -> None:
    if shutil.which("chromium") is None:
        pytest.skip("no chromium here; CI installs it")
    asyncio.run(visited(built, tmp_path))


async def visited(built: Path, tmp_path: Path) -> None:
    async with chromium() as page:
        for path in sorted(built.rglob("*.html")):
            for width in (1400, 390):
                await page.look(width)
                await page.visit(path.as_uri())
                assert await page.run("document.querySelector('h1').innerText")
                assert await page.run("document.documentElement.scrollWidth <= innerWidth"), f"{path.name} at {width}"
        await drawings_lead_to_stops(page, built)
        await search_finds(page, built, "preemption")
        await both_palettes(page, built)
        await page.shot(tmp_path / "page.png")
        assert (tmp_path / "page.png").stat().st_size > 20_000
        assert page.complaints == []
        assert {urlsplit(address).scheme for address in page.asked} <= {"file", "data"}


async def drawings_lead_to_stops(page: Page, built: Path) -> None:
    await page.look(1400)
    for drawing in ("svg.sequence", "svg.lanes"):
        await page.visit((built / "index.html").as_uri())
        size = f"document.querySelector('{drawing}').getBoundingClientRect()"
        assert await page.run(f"{size}.width") > 700 and await page.run(f"{size}.height") > 50
        address = await page.run(f"document.querySelector('{drawing} a').href.baseVal")
        await page.follow(f"{drawing} a")
        assert (await page.run("location.href")).endswith(address)
        assert "stop-name" in await page.run("document.querySelector(':target').className")


async def search_finds(page: Page, built: Path, word: str) -> None:
    await page.visit((built / "index.html").as_uri())
    await page.until("typeof IFrameWorker === 'function'")
    await page.run("document.querySelector('[data-md-component=search-query]').focus()")
    await page.send("Input.insertText", text=word)
    first = "document.querySelector('.md-search-result__item a')"
    await page.until(f"{first} !== null")
    assert word in (await page.run("document.querySelector('.md-search-result__list').innerText")).lower()
    address = await page.run(f"{first}.href")
    assert "walkthrough/" in address


async def both_palettes(page: Page, built: Path) -> None:
    await page.visit((built / "index.html").as_uri())
    papers = set()
    for scheme in ("__palette_1", "__palette_0"):
        await page.run(f"document.querySelector('label[for={scheme}]').click()")
        papers.add(await page.run("getComputedStyle(document.querySelector('svg.sequence .visit')).fill"))
    assert len(papers) == 2
