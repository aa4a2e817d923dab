"""The command that builds the site, and the whole of it in a browser, opened from disk."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

from notes.quotes import QuotedMachine, QuotedTrace, Quotes, write
from notes.site import frontpage, sources
from notes.site.deployment import drawn
from notes.study import texts
from notes.tables import story
from notes.walkthrough import chapters
from probes.errors import EnginescopeError
from tests.chromium import Page, chromium
from tests.needs import needs_chromium, needs_vllm
from tests.notes.smallnotes import QUOTES, ROOT, small_tree, streamed, two_chapters
from tracing.breakdown.findings import Findings


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return streamed(tmp_path_factory.mktemp("trace"))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "notes.build", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@needs_vllm
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    done = run("--out", str(tmp_path))
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "--out" in done.stderr
    assert run("--out", str(tmp_path / "thesis.txt")).returncode == 2
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@needs_vllm
def test_a_folder_that_is_no_trace_is_one_line(tmp_path: Path) -> None:
    done = run("--trace", str(tmp_path), "--out", str(tmp_path / "site"))
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "tracing.record" in done.stderr
    assert not (tmp_path / "site").exists()


def test_a_link_that_leads_nowhere_is_no_site(tmp_path: Path) -> None:
    (tmp_path / "n").mkdir()
    front = '+++\ntitle = "A"\nsummary = "B"\n+++\n\n'
    (tmp_path / "n" / "01-a.md").write_text(front + "See [there](02-b.md#nowhere).\n")
    (tmp_path / "n" / "02-b.md").write_text(front)
    with pytest.raises(EnginescopeError, match="nowhere"):
        sources.build({"en": chapters.read(tmp_path / "n")}, small_tree(tmp_path), None, tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_without_a_trace_and_again_into_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = QuotedTrace("demo", QuotedMachine("a chip", 2, None, None, None, "1.2", None))
    path = tmp_path / "measured.json"
    write(Quotes({"decode": source}, QUOTES), path)
    monkeypatch.setattr("notes.quotes.PATH", path)
    out, pages, tree = tmp_path / "site", two_chapters(tmp_path), small_tree(tmp_path)
    for _ in range(2):
        assert sources.build({"en": pages}, tree, None, out) == 4 + len(texts.PAGES) + len(story.read())
    text = (out / "index.html").read_text()
    assert "steps; a chip, 2 cores, vllm 1.2" in (out / "walkthrough" / "01-engine.html").read_text()
    assert "With a trace of your own" in text and "Recorded on a CPU" in text
    assert text.count('class="sequence"') == text.count('class="processes"') == len(drawn.DEPLOYMENTS)


RELEASE = "https://github.com/vllm-project/vllm/blob/"


def test_the_front_page_leads_to_every_chapter_from_a_subject() -> None:
    """No chapter is in no row, and every number that is named is there."""
    named = {number for _, numbers, _ in frontpage.SUBJECTS for number in numbers}
    there = {chapter.number for chapter in chapters.read()}
    assert named == there - {11}  # how to measure it all is the subject of the other rooms
    assert {page for _, _, pages in frontpage.SUBJECTS for page in pages} <= set(texts.PAGES)
    assert frontpage.subject_table(chapters.read()).count("](walkthrough/") >= len(named)


class Addresses(HTMLParser):
    """What a page refers to, what it loads, and the ids that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self.titles: set[str] = set()  # of the headings of the first level
        self.language = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.ids |= {attributes["id"] or ""} if "id" in attributes else set()
        self.titles |= {attributes.get("id") or ""} if tag == "h1" else set()
        self.language = attributes.get("lang") or "" if tag == "html" else self.language
        if attributes.get("href"):
            (self.loaded if tag == "link" else self.links).append(attributes["href"] or "")
        if attributes.get("src"):
            self.loaded.append(attributes["src"] or "")


@pytest.fixture(scope="module")
def site_folder(tmp_path_factory: pytest.TempPathFactory, recorded: Findings) -> Path:
    """This project's own notes, as the command builds them from a trace."""
    out = tmp_path_factory.mktemp("whole") / "site"
    done = run("--trace", str(recorded.timeline.folder), "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Wrote {out / 'index.html'}: ")
    return out


@needs_vllm
@pytest.mark.slow(120)
def test_no_link_is_broken_and_nothing_comes_from_the_web(site_folder: Path) -> None:
    pages = {path: Addresses(path.read_text()) for path in site_folder.rglob("*.html")}
    assert len(pages) > len(chapters.read())
    for path, page in pages.items():
        for address in (*page.links, *page.loaded):
            if address in page.links and address.startswith(RELEASE):  # to follow, not to load
                assert re.fullmatch(r"v\d+\.\d+\.\d+/vllm/[\w/]+\.py#L\d+", address.removeprefix(RELEASE))
                continue
            assert not urlsplit(address).scheme, f"{path.name} refers to {address}"
            file, fragment = urldefrag(address)
            target = (path.parent / unquote(file)).resolve() if file else path
            assert target.is_file(), f"{path.name} leads to {address}"
            assert not fragment or unquote(fragment) in pages[target].ids, f"{path.name} leads to {address}"
    for style in site_folder.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//", style.read_text()), style.name


@needs_vllm
@pytest.mark.slow(120)
def test_all_markdown_was_read(site_folder: Path) -> None:
    """The notes are written for other readers of Markdown too, which take for a list what this one may not."""
    left = re.compile(r"```|\{\{|\*\*|\n(?:[-*|#]+|\d+\.) ")
    for path in site_folder.rglob("*.html"):
        text = re.sub(r"<(pre|script|style|svg)\b.*?</\1>", "", path.read_text(), flags=re.DOTALL)
        assert not left.search(text), f"{path.name}: {left.search(text)}"


@needs_vllm
@pytest.mark.slow(120)
def test_every_stop_has_its_place_on_a_page(site_folder: Path) -> None:
    for chapter in chapters.read():
        page = Addresses((site_folder / "walkthrough" / f"{chapter.name}.html").read_text())
        assert {stop.name for stop in chapter.stops} <= page.ids


@needs_vllm
@pytest.mark.slow(120)
def test_every_page_is_there_in_both_languages_with_the_same_places(site_folder: Path) -> None:
    """A link into a page, and the switch from a place to the same in the other language, lead there."""
    english, chinese = site_folder, site_folder / "zh"
    names = {path.relative_to(chinese) for path in chinese.rglob("*.html")}
    assert names == {path.relative_to(english) for path in english.rglob("*.html") if chinese not in path.parents}
    for name in names:
        one, other = (Addresses((folder / name).read_text()) for folder in (english, chinese))
        assert (one.language, other.language) == ("en", "zh")
        assert one.ids - one.titles == other.ids - other.titles, name
        assert excerpts(english / name) == excerpts(chinese / name), name


def excerpts(path: Path) -> list[str]:
    """The lines of source on a page; a sentence may name its places in another order in another language."""
    return sorted(re.findall(r'<span class="row[^>]*>.*?(?=<span class="row|</code>)', path.read_text()))


@needs_vllm
@needs_chromium
@pytest.mark.browser
def test_the_site_in_a_browser(site_folder: Path, tmp_path: Path) -> None:
    fits = "document.querySelector('h1').innerText !== '' && document.documentElement.scrollWidth <= innerWidth"
    unfit = []
    with chromium() as page:
        for path in sorted(site_folder.rglob("*.html")):
            for width in (1400, 390):
                page.look(width)
                page.visit(path.as_uri())
                unfit += [] if page.run(fits) else [f"{path.name} at {width}"]
        drawings_lead_to_stops(page, site_folder)
        switch_leads_to_the_same_page(page, site_folder)
        search_finds(page, site_folder, "preemption")
        search_finds(page, site_folder / "zh", "抢占")
        both_palettes(page, site_folder)
        both_palettes(page, site_folder / "zh")
        page.shot(tmp_path / "page.png")
    assert unfit == [], "pages without a heading, or wider than the window"
    assert (tmp_path / "page.png").stat().st_size > 20_000
    assert page.complaints == []
    assert {urlsplit(address).scheme for address in page.requested} <= {"file", "data"}


def drawings_lead_to_stops(page: Page, site_folder: Path) -> None:
    page.look(1400)
    for drawing in ("svg.sequence", "svg.lanes"):
        page.visit((site_folder / "index.html").as_uri())
        size = f"document.querySelector('{drawing}').getBoundingClientRect()"
        assert page.run(f"{size}.width") > 700 and page.run(f"{size}.height") > 50
        address = page.run(f"document.querySelector('{drawing} a').href.baseVal")
        page.follow(f"{drawing} a")
        assert page.run("location.href").endswith(address)
        assert "stop-name" in page.run("document.querySelector(':target').className")


def switch_leads_to_the_same_page(page: Page, site_folder: Path) -> None:
    """To the same place on it, in the same colours, and to the pages of that language from there; then back."""
    page.look(1400)
    chapter, place = "walkthrough/05-scheduler.html", "#preempt"
    page.visit((site_folder / "index.html").as_uri())  # from a page to a place on itself nothing is loaded
    page.visit((site_folder / chapter).as_uri() + place)
    page.run("document.querySelector('label[for=__palette_1]').click()")
    page.follow("a.language")
    assert page.run("location.href") == (site_folder / "zh" / chapter).as_uri() + place
    assert page.run("document.body.dataset.mdColorScheme") == "slate"
    page.follow(".md-footer__link--next")
    assert page.run("location.href").endswith("/zh/walkthrough/06-kv-cache.html")
    page.follow("a.language")
    assert page.run("location.href") == (site_folder / "walkthrough" / "06-kv-cache.html").as_uri()
    page.visit((site_folder / "index.html").as_uri())
    page.follow("a.language")
    assert page.run("[location.href, document.documentElement.lang]") == [
        *((site_folder / "zh" / "index.html").as_uri(), "zh")
    ]


def search_finds(page: Page, site_folder: Path, word: str) -> None:
    page.visit((site_folder / "index.html").as_uri())
    page.until("typeof IFrameWorker === 'function'")
    page.run("document.querySelector('[data-md-component=search-query]').focus()")
    page.send("Input.insertText", text=word)
    first = "document.querySelector('.md-search-result__item a')"
    page.until(f"{first} !== null")
    assert word in page.run("document.querySelector('.md-search-result__list').innerText").lower()
    addresses = page.run("[...document.querySelectorAll('.md-search-result__item a')].map(a => a.href).join(' ')")
    assert "walkthrough/" in addresses and "study/" in addresses


def both_palettes(page: Page, site_folder: Path) -> None:
    page.visit((site_folder / "index.html").as_uri())
    papers = set()
    for scheme in ("__palette_1", "__palette_0"):
        page.run(f"document.querySelector('label[for={scheme}]').click()")
        papers.add(page.run("getComputedStyle(document.querySelector('svg.sequence .leg')).fill"))
    assert len(papers) == 2
