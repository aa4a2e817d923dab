"""A place's source as HTML, numbered as in the file; what is far from a fragment, or from the beginning, is folded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from notes.translation.labels import IN_ENGLISH, Labels
from notes.walkthrough.anchors import Verdict
from tracing.source.definitions import Place
from tracing.source.excerpt import excerpt

BEFORE, AFTER = 7, 5  # lines of context around the fragment
LONGEST = 24  # lines of a fragment
BEGINNING = 24  # lines of a definition, its docstring with them, where no fragment is asked for
FOLDED = 200  # lines on either side of a fold where another stop has them all: the longest functions have a thousand
ALL_OF_THEM = "All of them are at the first stop in this function."


def source(verdict: Verdict, say: Labels = IN_ENGLISH, whole: str = "") -> str:
    """The function as one line of HTML, the fragment's lines marked; empty where there is no such place any more.

    `whole` names the stop of the page at which a long function stands with all its lines, if that is another one.
    """
    place = verdict.place
    if place is None:
        return ""
    marked = {n for lines in verdict.lines[:1] for n in range(lines.first, min(lines.last, lines.first + LONGEST) + 1)}
    return _framed(_blocks(place, set(_numbers(place, sorted(marked))), marked, whole, say))


def definition(place: Place, say: Labels = IN_ENGLISH) -> str:
    """A whole function or class as one line of HTML, of which the beginning is shown at once."""
    return _framed(_blocks(place, set(range(place.first, place.first + BEGINNING)), set(), "", say))


def _framed(blocks: Iterator[str]) -> str:
    return f'<div class="highlight source" tabindex="0" data-search-exclude>{"".join(blocks)}</div>'


def _numbers(place: Place, marked: Sequence[int]) -> list[int]:
    """The numbers of the lines to show: the definition's head, and the fragment with its surroundings."""
    head, body = excerpt(place)
    if not marked:
        return [number for number, _ in (*head, *body)]
    begin = body[0][0] if body else place.first  # a docstring stays out
    around = list(range(max(marked[0] - BEFORE, begin), min(marked[-1] + AFTER, place.last) + 1))
    for edge in (0, -1):
        while around and not place.text[around[edge] - 1].strip():
            around.pop(edge)
    return sorted({*(number for number, _ in head), *around, *marked})


def _blocks(place: Place, shown: set[int], marked: set[int], whole: str, say: Labels) -> Iterator[str]:
    """The function's lines in blocks, those that are shown and, folded, those that are not."""
    colored = _colored(place)
    margin = min(_indent(line) for line in place.lines() if line.strip())
    for is_shown, group in groupby(range(place.first, place.last + 1), shown.__contains__):
        numbers = list(group)
        if is_shown:
            yield _block(_rows(numbers, place, colored, margin, marked))
        else:
            near = [n for at, n in enumerate(numbers) if not whole or at < FOLDED or at >= len(numbers) - FOLDED]
            rows = _block(_rows(near, place, colored, margin, set()))
            yield _fold(rows, len(numbers), len(near), whole, say)


def _fold(rows: str, count: int, near: int, whole: str, say: Labels) -> str:
    """Lines that are not shown at once; of very many only those next to what is shown, with a link to them all."""
    words = say("⋯ 1 line") if count == 1 else say("⋯ {count} lines", count=count)
    link = ""
    if near < count:
        words = say("{lines}, {near} of them here", lines=words, near=near)
        link = f'<p><a href="#{escape(whole)}">{escape(say(ALL_OF_THEM))}</a></p>'
    return f'<details class="fold"><summary>{words}</summary>{rows}{link}</details>'


def _block(rows: Iterator[str]) -> str:
    return f"<pre><code>{''.join(rows)}</code></pre>"


def _rows(numbers: Sequence[int], place: Place, colored: Sequence[str], margin: int, marked: set[int]) -> Iterator[str]:
    for number in numbers:
        style = "row marked" if number in marked else "row"
        cut = re.sub(rf"^((?:<span[^>]*>)*) {{{margin}}}", r"\1", colored[number - place.first])
        yield f'<span class="{style}"><i>{number}</i>{cut or " "}</span>'


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _colored(place: Place) -> list[str]:
    """The definition's lines, each as HTML of its own."""
    text = "\n".join(place.lines())
    lines = highlight(text, PythonLexer(stripnl=False, ensurenl=False), HtmlFormatter(nowrap=True)).split("\n")
    plain = [escape(line) for line in place.lines()]
    return [line for line, _ in zip([*lines, *plain[len(lines) :]], plain, strict=False)]
