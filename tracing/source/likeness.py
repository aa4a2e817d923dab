"""Two definitions side by side: whether they say the same, and where they do not."""

from __future__ import annotations

import ast
import difflib
import warnings
from collections.abc import Iterator

from tracing.source.definitions import Place

CONTEXT = 3  # lines around a change
WIDEST = 100  # columns a side: vLLM's own lines are narrower


def same_code(one: Place, other: Place) -> bool:
    """Whether two definitions say the same, comments and layout aside."""
    return _shape(one) == _shape(other)


def beside(before: Place | None, after: Place | None) -> Iterator[str]:
    """Two definitions in two columns with their line numbers, `|` between lines that differ; like stretches are cut."""
    left, right = _numbered(before), _numbered(after)
    width = min(max((len(line) for line in left), default=0), WIDEST)
    yield f"{_where(before):{width}}   {_where(after)}"
    texts = [each.lines() if each else () for each in (before, after)]
    plain = difflib.SequenceMatcher(None, texts[0], texts[1], autojunk=False)
    for group in plain.get_grouped_opcodes(CONTEXT):
        yield "…"
        for kind, a, b, c, d in group:
            for row in range(max(b - a, d - c)):
                one = left[a + row] if a + row < b else ""
                other = right[c + row] if c + row < d else ""
                yield f"{one[:width]:{width}} {' ' if kind == 'equal' else '|'} {other[:WIDEST]}".rstrip()


def statements(place: Place) -> list[ast.stmt]:
    """A definition, parsed by itself."""
    return parse_definition(place.lines())


def parse_definition(lines: tuple[str, ...]) -> list[ast.stmt]:
    """The lines of a definition, parsed: one line lower than they stand, under a head that allows their indentation."""
    if lines and lines[0][:1].isspace():
        (head,) = parse("\n".join(["if True:", *lines])).body
        assert isinstance(head, ast.If)
        return head.body
    return parse("\n".join(["pass", *lines])).body[1:]


def parse(text: str) -> ast.Module:
    """The tree of a text, whatever it would be warned about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as invalid escapes
        return ast.parse(text)


def _shape(place: Place) -> str:
    return "".join(map(ast.dump, statements(place)))


def _where(place: Place | None) -> str:
    return place.where if place else "(not there)"


def _numbered(place: Place | None) -> list[str]:
    lines = enumerate(place.lines(), place.first) if place else ()
    return [f"{number:>5} {line.expandtabs()}" for number, line in lines]
