"""What a definition says, as a digest of its syntax tree: layout, comments and docstrings are no part of it, and for
`unnamed` nor are the names of its locals.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import lru_cache

from tracing.source.definitions import Definition, Place
from tracing.source.likeness import parse_definition

DIGITS = 16  # of the hexadecimal digest: 64 bits, for some hundreds of functions a version
UNSAID = ("ctx", "kind", "type_comment", "type_ignores")  # `u"x"` is "x", and a name is the name on both sides of `=`


def digest(place: Place) -> str:
    """The digest of a definition, the same under every Python that parses it to the same tree."""
    return _digest(place.lines())


@lru_cache(maxsize=1024)  # many stops name the same function
def _digest(lines: tuple[str, ...]) -> str:
    return _digest_of(parse_definition(lines))


def _digest_of(statements: list[ast.stmt]) -> str:
    text = "".join(part for statement in statements for part in _parts(statement))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def unnamed(place: Place) -> str:
    """The digest of a definition in which each local is a number: the same whatever the locals are called."""
    return _unnamed(place.lines())


@lru_cache(maxsize=1024)
def _unnamed(lines: tuple[str, ...]) -> str:
    statements = parse_definition(lines)
    own, numbers = _locals(statements), dict[str, str]()
    for statement in statements:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and node.id in own:
                node.id = numbers.setdefault(node.id, f"local {len(numbers)}")
    return _digest_of(statements)


def _locals(statements: list[ast.stmt]) -> set[str]:
    """The names that a definition gives a value to, but for parameters and what it says is of outside."""
    nodes = [node for statement in statements for node in ast.walk(statement)]
    given = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    outside = {name for node in nodes if isinstance(node, ast.Global | ast.Nonlocal) for name in node.names}
    return given - outside - {node.arg for node in nodes if isinstance(node, ast.arg)}


def fields(node: ast.AST) -> Iterator[tuple[str, object]]:
    """What a node says, by field: without what is empty, which some versions of Python leave out."""
    for name, value in ast.iter_fields(node):
        if name not in UNSAID and value is not None and value != []:
            yield name, value


def without_docstring(node: Definition) -> list[ast.stmt]:
    """The body of a definition."""
    match node.body:
        case [ast.Expr(value=ast.Constant(value=str())), *rest]:
            return rest
    return node.body


def _parts(value: object) -> Iterator[str]:
    if isinstance(value, ast.Constant):
        yield f"({value.value!r})"
    elif isinstance(value, ast.AST):
        yield f"({type(value).__name__}"
        for name, each in fields(value):
            yield f" {name}="
            yield from _parts(without_docstring(value) if isinstance(value, Definition) and name == "body" else each)
        yield ")"
    elif isinstance(value, list):
        for each in value:
            yield from _parts(each)
    else:
        yield repr(value)
