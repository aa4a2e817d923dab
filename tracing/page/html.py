"""`review.html`: the review as one page that works from disk, with its own scripts inside and none of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from markupsafe import Markup

from probes import htmlpage
from probes.console import Rows
from probes.htmlpage import PageSection
from tracing.page.drawings import lanes
from tracing.page.tables import firstscreen, requesttable

STYLE = "td.text { white-space: normal; overflow-wrap: break-word; }"


def page(title: str, about: str, problems: Sequence[str], sections: list[tuple[str, str, str]]) -> str:
    """The page: title, what was run, what is wrong with it, then sections of (heading, one sentence, HTML)."""
    parts = [PageSection(heading, sentence, Markup(html)) for heading, sentence, html in sections]
    style = lanes.STYLE + lanes.ZOOM_STYLE + firstscreen.STYLE + requesttable.STYLE + STYLE
    script = Markup(f'<script type="module">{lanes.ZOOM}</script>')
    parts[-1:] = [replace(each, body=each.body + script) for each in parts[-1:]]
    return htmlpage.page(title, parts, about=about, problems=problems, style=style)


def table(columns: list[str], rows: Rows, share: int | None = None, text: tuple[int, ...] = (0,)) -> str:
    """An HTML table; column `share` holds fractions and is drawn as bars, columns `text` are set to the left."""
    return str(htmlpage.table(columns, rows, share, text))
