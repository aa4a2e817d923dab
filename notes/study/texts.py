"""The texts of the study plan in `notes/study/`: a Markdown file a day, pages to look things up in, and questions.

As shown, each place of vLLM has its line, and each default its value, in the installed vLLM.
"""

from __future__ import annotations

from pathlib import Path

from notes.study.anchored import GONE, THERE, with_lines
from notes.study.defaults import MARKER, rendered
from notes.study.sourceclaims import without
from notes.translation import editions, labels
from notes.translation.editions import ENGLISH
from probes.errors import EnginescopeError
from tracing.source.tree import SourceTree

FOLDER = Path(__file__).parent
DAYS = range(1, 8)
QUESTIONS = "questions"
LOOKED_UP = ("clients", "startup", "parameters", "deployment", "glossary", QUESTIONS)
PAGES = (*map(str, DAYS), *LOOKED_UP)


def path(page: str) -> Path:
    """The file of a page: a day's number, or a name."""
    return FOLDER / (f"day-{page}.md" if page.isdigit() else f"{page}.md")


def title(page: str, language: str = ENGLISH) -> str:
    """A page's first line, without the mark of a heading."""
    return editions.text(path(page), language).partition("\n")[0].lstrip("# ")


def text(page: str, language: str = ENGLISH, anchored: bool = False) -> str:
    """A page as it is shown; without a vLLM to look in, with the values that it was written with."""
    source = without(editions.text(path(page), language, anchored))
    try:
        tree = SourceTree.find()
    except EnginescopeError:
        return MARKER.sub(r"`\g<quote>`", source)
    say = labels.read(language)
    return with_lines(rendered(source, tree), tree, say(THERE), say(GONE))
