"""A report's sections as Markdown, as a page that works from disk, and on the terminal.

What came from a model, a prompt or a server is escaped in each: it is text and never markup.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from probes import htmlpage
from probes.console import Section, printable, show_section, show_text
from probes.markdown import table

TITLE = "Batch report"
MARKDOWN_SIGNS = "\\`*_[]<>!~&"


def markdown(sections: Sequence[Section], problems: Sequence[str], notes: Sequence[str]) -> str:
    """The report as Markdown."""
    parts = [f"# {TITLE}", *(f"> {_plain(problem)}" for problem in problems)]
    for section in sections:
        heads, *rows = ([_plain(text) for text in line] for line in (section.columns, *section.rows))
        figures = set(range(len(heads))) - set(section.text)
        parts += [f"## {_plain(section.title)}", "\n".join(table(heads, rows, right=figures))]
    return "\n\n".join([*parts, *map(_plain, notes)]) + "\n"


def _plain(text: str) -> str:
    return "".join(f"\\{sign}" if sign in MARKDOWN_SIGNS else sign for sign in printable(text))


def page(sections: Sequence[Section], problems: Sequence[str], notes: Sequence[str]) -> str:
    """The report as one HTML page without scripts."""
    parts = [*map(htmlpage.table_section, sections)]
    return htmlpage.page(TITLE, parts, problems=[*map(printable, problems)], notes=[*map(printable, notes)])


def show_report(out: Console, sections: Sequence[Section], problems: Sequence[str], notes: Sequence[str]) -> None:
    """Print the report."""
    for problem in problems:
        show_text(out, printable(problem), "yellow")
    for section in sections:
        show_section(out, section)
    out.print()
    for note in notes:
        show_text(out, note, "dim")
