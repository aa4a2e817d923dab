"""A page of the study plan for the site: each place of vLLM leads to its stop, or to its line in the release."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from notes.site.chapterpage import release_link, stop_links
from notes.study import texts
from notes.study.progress import with_notes
from notes.translation.labels import IN_ENGLISH, Labels
from notes.walkthrough.chapters import Chapter
from tracing.source.tree import SourceTree

FENCE = re.compile(r"^(```\w+) .*$", re.MULTILINE)  # behind the language some blocks say where they are from
PLACE = re.compile(
    r"`(?P<file>vllm(?:/\w+)+\.py):(?P<name>\w+(?:\.\w+)*)` (?P<words>[(（](?:line|第) (?P<line>\d+)(?: 行)?[)）])"
)


def page(name: str, chapters: Sequence[Chapter], tree: SourceTree, say: Labels = IN_ENGLISH) -> str:
    """The page's Markdown, without what a learner has noted: the site is for every reader."""
    text = FENCE.sub(r"\1", with_notes(texts.text(name, say.language, anchored=True), {}, say))
    return linked(text, stop_links(chapters, "md"), tree)


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
