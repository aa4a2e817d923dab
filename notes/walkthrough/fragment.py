"""One line of source, compared by what it says: the fragment of an anchor, and where a function has it.

Both sides are parsed, so that line breaks, quotes, brackets that change nothing and comments do not matter.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from token import NAME

from notes.walkthrough.body import BLOCKS, Body, body, denied, one_way
from notes.walkthrough.sameness import Sameness
from probes.errors import usage_error
from tracing.source.definitions import UNREADABLE, Place
from tracing.source.likeness import parse, statements

LONGEST = 120  # characters: one line of anyone's source
# What a line may be the beginning of: a block of its own, or one that needs another before it.
FRAMES = ("{}", "{} pass", "try: pass\n{} pass")


@dataclass(frozen=True)
class Lines:
    """The first and the last line of a piece of source, in its file and counted from 1."""

    first: int
    last: int


@dataclass(frozen=True)
class Fragment:
    """One line of Python: an expression, a statement, or the head of a block (`while running:`).

    A call `f(...)`, with that for its arguments, is one with any.
    """

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
        within = body(place)
        return tuple(_lines(node, within) for node in self.nodes(within))

    def find_renamed(self, place: Place) -> tuple[Lines, ...]:
        """Everywhere that a definition has it but for the names of its locals."""
        within = body(place)
        return tuple(_lines(node, within) for node, _ in self._renamed(within))

    def renames(self, within: Body) -> dict[str, str]:
        """The locals that are called otherwise in a definition than here, with their names there."""
        return {} if self.nodes(within) else next((renames for _, renames in self._renamed(within)), {})

    def nodes(self, within: Body, renames: Mapping[str, str] | None = None) -> list[ast.AST]:
        """The nodes of a definition that are it, in the order of the text."""
        alike = (node for node in within.by_type.get(type(self.node), []) if self.same(node, renames))
        return sorted(alike, key=lambda node: (getattr(node, "lineno", 0), getattr(node, "col_offset", 0)))

    def same(self, node: ast.AST, renames: Mapping[str, str] | None = None) -> bool:
        """Whether a node is it."""
        return Sameness(renames or {}).of(self.node, node) or self.turned(node, renames)

    def turned(self, node: ast.AST, renames: Mapping[str, str] | None = None) -> bool:
        """Whether a node is an `if … else` with the opposite test, and so with its two blocks the other way round."""
        match self.node, node:
            case ast.If(test=own), ast.If(test=test, orelse=[*blocks]) if blocks and not isinstance(blocks[0], ast.If):
                return Sameness(renames or {}).of(own, denied(test))
        return False

    def _renamed(self, within: Body) -> list[tuple[ast.AST, dict[str, str]]]:
        """Where it is with other names of locals for those that the definition no longer has, the same everywhere."""
        if not self._names - within.names:
            return []
        tries = ((node, self.renaming(within, {})) for node in within.by_type.get(type(self.node), []))
        matches = [(node, sameness.renames) for node, sameness in tries if sameness.of(self.node, node)]
        return matches if all(renames == matches[0][1] for _, renames in matches) else []

    def renaming(self, within: Body, renames: Mapping[str, str]) -> Sameness:
        """A comparison in which a local of a definition may stand for a name that the definition does not have."""
        unknown = self._names - within.names - renames.keys()
        return Sameness(renames, unknown, within.bound - self._names)

    @cached_property
    def _names(self) -> set[str]:
        return {node.id for node in ast.walk(self.node) if isinstance(node, ast.Name)}

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
            statements = parse(frame.format(text.strip())).body
        except UNREADABLE:
            continue
        if len(statements) == 1 and (meant := _meant(statements[0], frame)) is not None:
            return one_way(meant)
    return None


def _meant(statement: ast.stmt, frame: str) -> ast.AST | None:
    if frame == FRAMES[-1]:
        handlers = getattr(statement, "handlers", [])
        return handlers[0] if handlers else None
    return statement.value if isinstance(statement, ast.Expr) else statement


def _lines(node: ast.AST, within: Body) -> Lines:
    first = getattr(node, "lineno", 1)
    last = min([getattr(node, "end_lineno", first), *(_before_blocks(node))])
    return Lines(within.line(node), max(first, last) + within.line(node) - first)


def _before_blocks(node: ast.AST) -> Iterator[int]:
    """The last lines that the head of a block can have: those before what it holds."""
    for name in BLOCKS:
        block = getattr(node, name, None)
        if isinstance(block, list) and block and hasattr(block[0], "lineno"):
            yield max(block[0].lineno - 1, getattr(node, "lineno", 1))
