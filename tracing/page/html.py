"""`review.html`: the review as one page that works from disk, with swim lanes of one step and one request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from probes import htmlpage
from probes.htmlpage import PageSection
from tracing.page import lanes


def page(title: str, about: str, problems: Sequence[str], sections: list[tuple[str, str, str]]) -> str:
    """The page: title, what was run, what is wrong with it, then sections of (heading, one sentence, HTML)."""
    parts = [PageSection(heading, sentence, Markup(html)) for heading, sentence, html in sections]
    return htmlpage.page(title, parts, about=about, problems=problems, style=lanes.STYLE)


def table(columns: list[str], rows: list[list[Any]], share: int | None = None, text: tuple[int, ...] = (0,)) -> str:
    """An HTML table; column `share` holds fractions and is drawn as bars, columns `text` are set to the left."""
    return str(htmlpage.table(columns, rows, share, text))
