"""The front page's map: a box in its process, no two on each other, an arrow from one to the other."""

from __future__ import annotations

from itertools import combinations
from xml.etree import ElementTree

from notes.site import processmap
from notes.site.processmap import ARROWS, HEIGHT, PARTS, PROCESSES, Box, Layout
from notes.walkthrough import chapters

ALL = Layout("all", PROCESSES, PARTS, ARROWS, HEIGHT)


def within(inner: Box, outer: Box) -> bool:
    across = outer.x < inner.x and inner.x + inner.width < outer.x + outer.width
    return across and outer.y < inner.y and inner.y + inner.height < outer.y + outer.height


def apart(one: Box, other: Box) -> bool:
    beside = one.x + one.width <= other.x or other.x + other.width <= one.x
    return beside or one.y + one.height <= other.y or other.y + other.height <= one.y


def touches(point: tuple[int, int], box: Box) -> bool:
    return box.x <= point[0] <= box.x + box.width and box.y <= point[1] <= box.y + box.height


def test_every_part_lies_in_one_process_and_on_no_other_part() -> None:
    assert [part.name for part in PARTS if sum(within(part, process) for process in PROCESSES) != 1] == []
    assert [(one.name, other.name) for one, other in combinations(PARTS, 2) if not apart(one, other)] == []


def test_every_arrow_goes_from_a_part_to_another() -> None:
    for arrow in ARROWS:
        ends = [[part.name for part in PARTS if touches(point, part)] for point in (arrow.start, arrow.end)]
        assert [len(names) for names in ends] == [1, 1] and ends[0] != ends[1], arrow


def test_the_map_leads_to_chapters_that_are_there() -> None:
    numbers = {chapter.number for chapter in chapters.read()}
    assert {each.chapter for each in (*PARTS, *ARROWS)} <= numbers
    svg = ElementTree.fromstring(processmap.drawing(ALL, {number: f"{number}.html" for number in numbers}))
    links = [link.get("href") for link in svg.iter("a")]
    assert len(links) == len(PARTS) + len(ARROWS) and "5.html" in links
    assert not list(ElementTree.fromstring(processmap.drawing(ALL, {})).iter("a"))
