"""The READMEs: short at the top, every command in its room's, every relative link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.house.test_help import ROOMS, commands

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    "README.md",
    "README.zh.md",
    "probes/TROUBLESHOOTING.md",
    *(f"{room}/README.md" for room in ROOMS),
    "notes/tables/README.md",
    "notes/tables/costs.md",
]
MAINTAINERS = {
    "notes.measured",
    "notes.recorded",
    "notes.tables",
    "notes.translation",
    "offline.engine",
    "probes.metrics.names",
    "probes.serve.faults",
    "tracing.shapes",
}
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`[^`]+`")
FENCED = re.compile(r"^```.*?^```", re.M | re.S)


def slug(heading: str) -> str:
    """The anchor of a heading, as the usual viewers of Markdown make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    """The anchors of all headings of a page."""
    return {slug(line.lstrip("#")) for line in FENCED.sub("", page.read_text()).splitlines() if line.startswith("#")}


def broken(page: Path) -> list[str]:
    """The relative links of a page that lead nowhere."""
    links = [link for link in LINK.findall(FENCED.sub("", page.read_text())) if "://" not in link]
    return [link for link in links if not leads_somewhere(page, link)]


def leads_somewhere(page: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = (page.parent / name) if name else page
    return target.exists() and (not anchor or anchor in anchors(target))


def test_a_heading_and_its_anchor() -> None:
    assert slug(" python -m probes.doctor") == "python--m-probesdoctor"
    assert slug("Where the time goes") == "where-the-time-goes"


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One\n[a](#one) [b](#two) [c](gone.md) [d](page.md#one) [e](https://example.org)\n```\n[f](no)\n```\n"
    )
    assert broken(page) == ["#two", "gone.md"]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    assert broken(ROOT / page) == []


FIRST_PAGES = ("README.md", "README.zh.md")


@pytest.mark.parametrize("page", FIRST_PAGES)
def test_the_first_page_is_short(page: str) -> None:
    assert len((ROOT / page).read_text().splitlines()) <= 150


@pytest.mark.parametrize("command", commands())
def test_every_command_is_in_its_rooms_readme(command: str) -> None:
    room = command.partition(".")[0]
    assert f"python -m {command}" in (ROOT / room / "README.md").read_text()


@pytest.mark.parametrize("page", FIRST_PAGES)
@pytest.mark.parametrize("command", sorted({*commands()} - MAINTAINERS))
def test_every_users_command_is_on_the_first_page(command: str, page: str) -> None:
    assert f"`python -m {command}` |" in (ROOT / page).read_text()


def test_the_first_pages_have_the_same_commands() -> None:
    """Blocks and code are the same in both languages, so that what holds of one holds of the other."""
    english, chinese = ((ROOT / page).read_text() for page in FIRST_PAGES)
    assert FENCED.findall(english) == FENCED.findall(chinese)
    codes = [CODE.findall(" ".join(FENCED.sub("", page).split())) for page in (english, chinese)]  # however broken
    assert sorted(codes[0]) == sorted(codes[1])
