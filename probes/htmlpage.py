"""The one HTML page of all reports: it works from disk, without scripts, and escapes all but what is `Markup`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from probes.console import Section, percent, printable

PAGE = "page.html"


@dataclass(frozen=True)
class PageSection:
    """A heading, one sentence below it (or none), and the section's HTML."""

    heading: str
    sentence: str
    body: Markup


@cache
def _template(name: str, package: str = "probes") -> Template:
    environment = Environment(
        loader=PackageLoader(package), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=name == PAGE
    )
    environment.filters["percent"] = percent
    return environment.get_template(name)


def filled(package: str, name: str, **values: object) -> Markup:
    """A template in the folder `templates` of a package, with the values that it names."""
    return Markup(_template(name, package).render(values))


def page(
    title: str,
    sections: Sequence[PageSection],
    *,
    about: str = "",
    problems: Sequence[str] = (),
    notes: Sequence[str] = (),
    style: str = "",
) -> str:
    """The whole page; `style` is CSS of our own that its sections need."""
    return _template(PAGE).render(
        title=title, sections=sections, about=about, problems=problems, notes=notes, style=Markup(style)
    )


def table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], share: int | None = None, text: Sequence[int] = (0,)
) -> Markup:
    """An HTML table; column `share` holds fractions and is drawn as bars, columns `text` are set to the left."""
    return Markup(_template("table.html").render(columns=columns, rows=rows, share=share, text=text))


def table_section(section: Section) -> PageSection:
    """A section of reports as one of a page."""
    columns, *rows = ([*map(printable, row)] for row in (section.columns, *section.rows))
    return PageSection(printable(section.title), "", table(columns, rows, text=section.text))
