"""The page of a synthetic trace's review: what it escapes and draws, and that it works in a browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chromium import Page, chromium
from tests.needs import needs_chromium
from tests.tracing.stories import NS, batch, stream
from tracing import review, timeline
from tracing.page import html
from tracing.page.drawings import lanes


@contextmanager
def opened(folder: Path, height: int) -> Iterator[Page]:
    """The page of a folder's review in a browser, which complains of nothing."""
    review.review(folder)
    with chromium() as page:
        page.look(1300, height)
        page.visit((folder / "review.html").as_uri())
        yield page
        assert page.complaints == []


def test_a_page_escapes_what_came_from_a_request() -> None:
    page = html.page("<t>", "<script>", ["<img>"], [("h", "s", html.table(["a"], [["<b>"]]))])
    assert not re.search(r"<script>|<img>|<b>|<t>", page)


def test_a_drawing_has_a_lane_a_thread_and_a_bar_a_span(tmp_path: Path) -> None:
    stream(tmp_path, NS, steps=1)
    read = timeline.read(tmp_path)
    start, end = int(read.spans["start_ns"].min()), int(read.spans["end_ns"].max())
    svg = lanes.drawing(read, start, end, start)
    shown = (read.spans["share"] != "frame") & (read.spans["end_ns"] > start)
    assert svg.count('class="lane"') == read.spans.groupby(["pid", "thread"]).ngroups
    assert 0 < svg.count("<rect") <= shown.sum()
    assert "runner.forward (forward)" in svg


@needs_chromium
@pytest.mark.browser
def test_the_page_in_a_browser(tmp_path: Path) -> None:
    stream(tmp_path, NS, steps=5)
    with opened(tmp_path, 1400) as page:
        assert page.run("document.querySelectorAll('svg.load').length") == 2  # this trace does not know its KV blocks
        assert page.run("document.querySelectorAll('.zoom svg').length") == 2
        assert page.run("document.querySelectorAll('rect').length") > 20
        assert page.run(WIDER) == []
        page.shot(tmp_path / "page.png")
        assert all(address.startswith("file:") for address in page.requested)
    assert (tmp_path / "page.png").stat().st_size > 20_000


@needs_chromium
@pytest.mark.browser
def test_lanes_zoom_pan_and_tell(tmp_path: Path) -> None:
    stream(tmp_path, NS, steps=5)
    with opened(tmp_path, 900) as page:
        page.run("document.querySelectorAll('.zoom')[1].scrollIntoView()")
        whole = page.run(TICKS)
        point(page, "mouseMoved", "[data-at$='wait: scheduler queue']")
        assert page.until("document.getElementById('tip').textContent").startswith("wait: scheduler queue, ")
        for count in (1, 2):
            for kind in ("mousePressed", "mouseReleased"):
                point(page, kind, "[data-at$='wait: scheduler queue']", button="left", clickCount=count)
        assert page.until(f"{WIDTH_OF_WAIT} > 700")  # of 970: a double click shows a bar and a little around it
        zoomed = page.run(TICKS)
        press(page, "→")
        panned = page.until(f"{TICKS} !== {json.dumps(zoomed)} && {TICKS}")
        press(page, "all")
        assert page.until(f"{TICKS} !== {json.dumps(panned)} && {TICKS}") == whole


@needs_chromium
@pytest.mark.browser
def test_the_table_of_requests_sorts_and_is_searched(tmp_path: Path) -> None:
    batch(tmp_path, finished=("0", "1"), cut=("2",))
    with opened(tmp_path, 900) as page:
        assert page.run(IDS) == ["0-x", "1-x", "2-x"]  # one that was cut has no latency, and comes last
        page.run("[...document.querySelectorAll('#requests th button')].find(b => b.textContent == '#').click()")
        assert page.run(IDS) == ["2-x", "1-x", "0-x"]
        page.run("[...document.querySelectorAll('#requests th button')].find(b => b.textContent == '#').click()")
        assert page.run(IDS) == ["0-x", "1-x", "2-x"]
        page.run("document.querySelector('input').value = 'CUT'")
        page.run("document.querySelector('input').dispatchEvent(new Event('input'))")
        assert page.run(IDS) == ["2-x"]
        assert page.run("document.getElementById('requests-count').textContent") == "1 of 1 shown"


WIDER = """[...document.querySelectorAll('body, .scroll')].filter(box => box.scrollWidth > box.clientWidth + 1)
  .map(box => box.textContent.slice(0, 40))"""
IDS = "[...document.querySelectorAll('#requests tbody tr')].map(row => row.cells[1].textContent)"
TICKS = "[...document.querySelectorAll('.zoom')[1].querySelectorAll('.axis text')].map(t => t.textContent).join()"
WIDTH_OF_WAIT = "document.querySelector(\"[data-at$='wait: scheduler queue'] rect\").getAttribute('width')"


def point(page: Page, kind: str, selector: str, **more: object) -> None:
    """A mouse event in the middle of an element."""
    script = f"(box => [box.x + box.width / 2, box.y + box.height / 2])({BOX % json.dumps(selector + ' rect')})"
    x, y = page.run(script)
    page.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)


BOX = "document.querySelector(%s).getBoundingClientRect()"


def press(page: Page, button: str) -> None:
    """Click on a button of the second drawing."""
    buttons = "[...document.querySelectorAll('.zoom')[1].querySelectorAll('button')]"
    page.run(f"{buttons}.find(each => each.textContent == {json.dumps(button)}).click()")
