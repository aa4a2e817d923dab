"""A page of the study plan for the site: each place of vLLM leads to its stop, or to its line in the release, and has
its code at the end of the section that names it first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from notes.site import excerptblock
from notes.site.chapterpage import release_link, stop_links
from notes.study import texts
from notes.study.anchored import find_place
from notes.study.progress import with_notes
from notes.translation.labels import IN_ENGLISH, Labels
from notes.walkthrough.chapters import Chapter
from tracing.source.definitions import Place
from tracing.source.tree import SourceTree

SECTION = re.compile(r"^(?=## )", re.MULTILINE)
FENCE = re.compile(r"^(```\w+) .*$", re.MULTILINE)  # behind the language some blocks say where they are from
PLACE = re.compile(
    r"`(?P<file>vllm(?:/\w+)+\.py):(?P<name>\w+(?:\.\w+)*)` (?P<words>[(（](?:line|第) (?P<line>\d+)(?: 行)?[)）])"
)
NAMED = "The code that is named here:"


def page(name: str, chapters: Sequence[Chapter], tree: SourceTree, say: Labels = IN_ENGLISH) -> str:
    """The page's Markdown, without what a learner has noted: the site is for every reader."""
    text = FENCE.sub(r"\1", with_notes(texts.text(name, say.language, anchored=True), {}, say))
    links = stop_links(chapters, "md")
    return "".join(linked(words, links, tree) + code for words, code in sections(text, tree, say))


def sections(text: str, tree: SourceTree, say: Labels = IN_ENGLISH) -> Iterator[tuple[str, str]]:
    """Each section of a text with the code, folded, of the places that it is the first to name."""
    shown: set[str] = set()
    for section in SECTION.split(text):
        names = dict.fromkeys(f"{match['file']}:{match['name']}" for match in PLACE.finditer(section))
        blocks = [*filter(None, (_code(name, tree, say) for name in names if name not in shown))]
        shown.update(names)
        heading = f'<p class="named">{escape(say(NAMED))}</p>'
        yield section, f"\n{heading}{''.join(blocks)}\n\n" if blocks else ""


def _code(name: str, tree: SourceTree, say: Labels) -> str:
    """A place's code behind its name; nothing where it is not in this tree."""
    place = find_place(name, tree)
    if not isinstance(place, Place):
        return ""
    file, _, qualname = name.partition(":")
    summary = f"<summary><code>{escape(qualname)}</code> {escape(file)}:{place.first}</summary>"
    return f'<details class="fold named">{summary}{excerptblock.definition(place, say)}</details>'


def linked(text: str, stops: Mapping[str, str], tree: SourceTree) -> str:
    """The text with links at its places.

    | place                         | leads to                                      |
    | ----------------------------- | --------------------------------------------- |
    | a function that has a stop    | that stop                                     |
    | any other, in a release       | its line there                                |
    | any other                     | nothing; file and line are as they were       |
    """

    def link(match: re.Match[str]) -> str:
        stop = stops.get(f"{match['file'].removesuffix('.py').replace('/', '.')}:{match['name']}")
        name = f"`{match['file']}:{match['name']}`"
        if stop is not None:
            return f"[{name}](../walkthrough/{stop}) {match['words']}"
        release = release_link(match["file"], match["line"], tree)
        return f"[{name}]({release}) {match['words']}" if release else match[0]

    return PLACE.sub(link, text)
