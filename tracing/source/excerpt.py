"""The lines of a function that a reader wants to see first: its head, and where its body begins after the docstring."""

from __future__ import annotations

import ast
import textwrap

from tracing.source.definitions import Place

BODY_LINES = 8
Lines = list[tuple[int, str]]  # line numbers with their text


def excerpt(place: Place, most: int = BODY_LINES) -> tuple[Lines, Lines]:
    """The `def` of a place and the first lines of its body, each with their numbers; decorators stay out."""
    lines = place.lines()
    try:
        node = ast.parse(textwrap.dedent("\n".join(lines))).body[0]
    except SyntaxError:
        return _numbered(place, 0, min(1, len(lines))), _numbered(place, 1, min(1 + most, len(lines)))
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    documented = ast.get_docstring(node, clean=False) is not None and len(node.body) > 1
    begin = node.body[1 if documented else 0].lineno - 1
    head = _numbered(place, node.lineno - 1, node.lineno)
    while begin > node.lineno and lines[begin - 1].strip().startswith("#"):
        begin -= 1  # a comment belongs to what it stands above
    return head, _numbered(place, max(begin, node.lineno), min(begin + most, len(lines)))


def _numbered(place: Place, first: int, end: int) -> Lines:
    return [(place.first + index, place.lines()[index]) for index in range(first, end)]
