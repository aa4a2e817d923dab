"""A stop's source as HTML: the head of its function and the lines around its fragment, numbered as in the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from notes.walkthrough.anchors import Verdict
from tracing.source.definitions import Place
from tracing.source.excerpt import excerpt

BEFORE, AFTER = 7, 5  # lines of context around the fragment
LONGEST = 24  # lines of a fragment


def source(verdict: Verdict) -> str:
    """The excerpt as one line of HTML, the fragment's lines marked; empty where there is no such place any more."""
    place = verdict.place
    if place is None:
        return ""
    marked = {n for lines in verdict.lines[:1] for n in range(lines.first, min(lines.last, lines.first + LONGEST) + 1)}
    numbers = _numbers(place, sorted(marked))
    rows = "".join(_rows(place, numbers, marked))
    return f'<div class="highlight source" tabindex="0"><pre><code>{rows}</code></pre></div>'


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


def _rows(place: Place, numbers: Sequence[int], marked: set[int]) -> Iterator[str]:
    colored = _colored(place)
    margin = min(_indent(place.text[number - 1]) for number in numbers if place.text[number - 1].strip())
    last = numbers[0] - 1
    for number in numbers:
        if number != last + 1:
            yield '<span class="row gap"><i></i>⋯</span>'
        last = number
        style = "row marked" if number in marked else "row"
        text = colored[number - place.first]
        cut = text[margin:] if text[:margin].isspace() else text
        yield f'<span class="{style}"><i>{number}</i>{cut or " "}</span>'


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _colored(place: Place) -> list[str]:
    """The definition's lines, each as HTML of its own."""
    text = "\n".join(place.lines())
    lines = highlight(text, PythonLexer(stripnl=False, ensurenl=False), HtmlFormatter(nowrap=True)).split("\n")
    plain = [escape(line) for line in place.lines()]
    return [line for line, _ in zip([*lines, *plain[len(lines) :]], plain, strict=False)]
