"""A report's sections as Markdown, as a page that works from disk, and on the terminal.

What came from a model, a prompt or a server is escaped in each: it is text and never markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from rich.console import Console
from rich.markup import escape as escape_markup

from probes.console import show_text, table
from probes.report.sections import Section

TITLE = "Batch report"
STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --paper: #fbfbf9; --faint: #6b7280; --line: #d9dce1; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e6eb; --paper: #14171d; --faint: #9aa3b2; --line: #333a46; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  max-width: 1180px; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .4rem; } .faint { color: var(--faint); }
.problem { border-left: 4px solid #d33; padding: .4rem .8rem; background: #d331; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem 1rem .15rem 0; text-align: right; border-bottom: 1px solid var(--line); }
th { color: var(--faint); font-weight: 600; } .text { text-align: left; }
"""
MARKDOWN_SIGNS = "\\`*_[]<>|!~&"


def printable(text: str) -> str:
    """One line without control characters: nothing that a server sent may move the cursor or colour a terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def markdown(sections: Sequence[Section], problems: Sequence[str], notes: Sequence[str]) -> str:
    """The report as Markdown."""
    parts = [f"# {TITLE}", *(f"> {_plain(problem)}" for problem in problems)]
    for section in sections:
        marks = ["---" if place in section.text else "---:" for place in range(len(section.columns))]
        rows = [_cells(section.columns), _bar(marks), *map(_cells, section.rows)]
        parts += [f"## {_plain(section.title)}", "\n".join(rows)]
    return "\n\n".join([*parts, *map(_plain, notes)]) + "\n"


def _cells(texts: Sequence[str]) -> str:
    return _bar([_plain(text) for text in texts])


def _bar(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    return "".join(f"\\{sign}" if sign in MARKDOWN_SIGNS else sign for sign in printable(text))


def page(sections: Sequence[Section], problems: Sequence[str], notes: Sequence[str]) -> str:
    """The report as one HTML page without scripts."""
    body = [f"<h1>{TITLE}</h1>", *(f'<p class="problem">{_safe(problem)}</p>' for problem in problems)]
    for section in sections:
        body.append(f'<h2>{_safe(section.title)}</h2><div class="scroll">{_table(section)}</div>')
    body += [f'<p class="faint">{_safe(note)}</p>' for note in notes]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{TITLE}</title><style>{STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _table(section: Section) -> str:
    def line(tag: str, texts: Sequence[str]) -> str:
        marks = (' class="text"' if place in section.text else "" for place in range(len(texts)))
        return "".join(f"<{tag}{mark}>{_safe(text)}</{tag}>" for text, mark in zip(texts, marks, strict=True))

    rows = "".join(f"<tr>{line('td', row)}</tr>" for row in section.rows)
    return f"<table><thead><tr>{line('th', section.columns)}</tr></thead><tbody>{rows}</tbody></table>"


def _safe(text: str) -> str:
    return escape(printable(text))


def show_report(out: Console, sections: Sequence[Section], problems: Sequence[str], notes: Sequence[str]) -> None:
    """Print the report."""
    for problem in problems:
        show_text(out, printable(problem), "yellow")
    for section in sections:
        columns, *rows = ([escape_markup(printable(text)) for text in row] for row in (section.columns, *section.rows))
        table(out, escape_markup(printable(section.title)), columns, rows, section.text)
    out.print()
    for note in notes:
        show_text(out, note, "dim")
