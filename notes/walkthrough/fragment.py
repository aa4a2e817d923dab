"""One line of source, compared by what it says: the fragment of an anchor, and where a function has it.

Both sides are parsed, so that line breaks, quotes, brackets that change nothing and comments do not matter.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from token import NAME

from probes.errors import usage_error
from tracing.source.definitions import UNREADABLE, Place
from tracing.source.likeness import parse, statements

LONGEST = 120  # characters: one line of anyone's source
BLOCKS = ("body", "handlers", "cases", "orelse", "finalbody", "decorator_list")
CONTEXT = re.compile(r",? ?ctx=(?:Load|Store|Del)\(\)")
# What a line may be the beginning of: a block of its own, or one that needs another before it.
FRAMES = ("{}", "{} pass", "try: pass\n{} pass")


@dataclass(frozen=True)
class Lines:
    """The first and the last line of a piece of source, in its file and counted from 1."""

    first: int
    last: int


@dataclass(frozen=True)
class Fragment:
    """One line of Python: an expression, a statement, or the head of a block (`while running:`)."""

    text: str

    def __post_init__(self) -> None:
        if not self.text.strip() or len(self.text) > LONGEST or len(self.text.splitlines()) != 1:
            raise usage_error(f"fragment {self.text[:LONGEST]!r} is not one line of at most {LONGEST} characters")
        if _parsed(self.text) is None:
            raise usage_error(f"fragment {self.text!r} is not an expression, a statement or the head of a block")

    @cached_property
    def node(self) -> ast.AST:
        node = _parsed(self.text)
        assert node is not None  # __post_init__ has seen it
        return node

    @cached_property
    def word(self) -> str:
        """Its longest name, which every file that has the fragment has too; empty where it has none."""
        tokens = tokenize.generate_tokens(io.StringIO(self.text.strip()).readline)
        return max((token.string for token in tokens if token.type == NAME), key=len, default="")

    def find(self, place: Place) -> tuple[Lines, ...]:
        """Everywhere that a definition has it, in order."""
        if not any(self.word in line for line in place.lines()):
            return ()  # most places, without being parsed
        own = self.node
        shape = _shape(own)
        same = (node for node in _nodes(place) if type(node) is type(own) and _shape(node) == shape)
        return tuple(sorted({_lines(node, place) for node in same}, key=lambda lines: (lines.first, lines.last)))

    def names(self, name: str) -> bool:
        """Whether it calls something of this name, or hands it on: as a reference, or as text for a remote call."""
        for node in ast.walk(self.node):
            match node:
                case ast.Name(id=word) | ast.Attribute(attr=word) | ast.Constant(value=word) if word == name:
                    return True
        return False


def bases(place: Place) -> set[str]:
    """The last names of the classes that a class names as its bases; none for a function."""
    (node,) = statements(place)
    named = node.bases if isinstance(node, ast.ClassDef) else []
    return {name for name in (getattr(base, "attr", getattr(base, "id", "")) for base in named) if name}


def _parsed(text: str) -> ast.AST | None:
    for frame in FRAMES:
        try:
            body = parse(frame.format(text.strip())).body
        except UNREADABLE:
            continue
        if len(body) == 1:
            return _meant(body[0], frame)
    return None


def _meant(statement: ast.stmt, frame: str) -> ast.AST | None:
    if frame == FRAMES[-1]:
        handlers = getattr(statement, "handlers", [])
        return handlers[0] if handlers else None
    return statement.value if isinstance(statement, ast.Expr) else statement


def _shape(node: ast.AST) -> str:
    """A node's text form without places, without what a block holds, and the same on both sides of an assignment."""
    blocks = [name for name in BLOCKS if isinstance(getattr(node, name, None), list)]
    if blocks and not isinstance(node, ast.Module):
        node = type(node)(**{name: getattr(node, name, None) for name in node._fields if name not in blocks})
    return CONTEXT.sub("", ast.dump(node))


def _nodes(place: Place) -> Iterator[ast.AST]:
    for statement in statements(place):
        yield from ast.walk(statement)


def _lines(node: ast.AST, place: Place) -> Lines:
    first = getattr(node, "lineno", 1)
    last = min([getattr(node, "end_lineno", first), *(_before_blocks(node))])
    return Lines(first + place.first - 2, max(first, last) + place.first - 2)


def _before_blocks(node: ast.AST) -> Iterator[int]:
    """The last lines that the head of a block can have: those before what it holds."""
    for name in BLOCKS[:-1]:
        block = getattr(node, name, None)
        if isinstance(block, list) and block and hasattr(block[0], "lineno"):
            yield max(block[0].lineno - 1, getattr(node, "lineno", 1))
