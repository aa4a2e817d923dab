"""The functions and classes of one Python file, by qualified name, read from its text and never executed."""

from __future__ import annotations

import ast
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

DefinitionKind = Literal["function", "generator", "coroutine", "async generator", "class"]
Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef

# The last of several definitions counts, as when Python runs them, but not what only completes another of that name.
SECONDARY = ("overload", "setter", "deleter")
TYPE_CHECKING = ("TYPE_CHECKING", "typing.TYPE_CHECKING")
BLOCKS = ("body", "handlers", "cases", "orelse", "finalbody")
# What reading and parsing a file of unknown content can raise; a parser meets deep nesting with the last two.
UNREADABLE = (OSError, SyntaxError, ValueError, RecursionError, MemoryError)


@dataclass(frozen=True)
class Place:
    """Where something is defined. Lines count from 1; the first is that of its first decorator, as in a code object."""

    file: str
    first: int
    last: int
    kind: DefinitionKind
    decorators: tuple[str, ...]
    text: tuple[str, ...] = field(repr=False, compare=False)  # of the whole file

    @property
    def where(self) -> str:
        """For people and editors: `file:line`."""
        return f"{self.file}:{self.first}"

    def lines(self) -> tuple[str, ...]:
        """Its source text, line by line."""
        return self.text[self.first - 1 : self.last]


def read_definitions(path: Path, file: str) -> dict[str, Place] | str:
    """All definitions in the file at `path`, to be called `file`; or what is wrong with that file, as words after it.

    One that stands under a condition counts as there; one inside a function, or for type checkers only, does not.
    """
    try:
        source, tree = _parse(path)
        text = tuple(source.split("\n"))
        return {name: _place(node, file, text) for name, node in _definitions(tree.body, "")}
    except UNREADABLE as error:
        return _problem(error)


def assigned_text(path: Path, names: tuple[str, ...]) -> str | None:
    """The text that a file assigns to one of `names` at its top level."""
    try:
        _, tree = _parse(path)
    except UNREADABLE:
        return None
    for node in tree.body:
        match node:
            case ast.Assign(targets=targets, value=ast.Constant(value=str(text))):
                if any(isinstance(target, ast.Name) and target.id in names for target in targets):
                    return text
    return None


def _parse(path: Path) -> tuple[str, ast.Module]:
    with tokenize.open(path) as file:  # by the file's own declared encoding, all line ends as \n
        text = file.read()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as invalid escapes: vLLM's business, not the reader's
        return text, ast.parse(text, path)  # named: for a syntax error Python opens the file of that name again


def _problem(error: BaseException) -> str:
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror}"
    if isinstance(error, SyntaxError) and error.lineno:
        return f"is not Python that this Python reads (line {error.lineno}: {error.msg})"
    return f"is not Python that this Python reads ({type(error).__name__})"


def _definitions(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, Definition]]:
    for node in _at_this_level(body):
        if not any(text.rpartition(".")[2] in SECONDARY for text in _decorators(node)):
            yield f"{prefix}{node.name}", node
        if isinstance(node, ast.ClassDef):
            yield from _definitions(node.body, f"{prefix}{node.name}.")


def _at_this_level(body: list[ast.stmt]) -> Iterator[Definition]:
    """The definitions among statements, also under `if`, `try`, `with` and their like, but not inside each other."""
    for node in body:
        if isinstance(node, Definition):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test) in TYPE_CHECKING:
            yield from _at_this_level(node.orelse)
        else:
            for block in BLOCKS:
                yield from _at_this_level(getattr(node, block, []))


def _place(node: Definition, file: str, text: tuple[str, ...]) -> Place:
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return Place(file, first, node.end_lineno or node.lineno, _kind(node), _decorators(node), text)


def _decorators(node: Definition) -> tuple[str, ...]:
    return tuple(ast.unparse(decorator) for decorator in node.decorator_list)


def _kind(node: Definition) -> DefinitionKind:
    if isinstance(node, ast.ClassDef):
        return "class"
    if isinstance(node, ast.AsyncFunctionDef):
        return "async generator" if _yields(node) else "coroutine"
    return "generator" if _yields(node) else "function"


def _yields(function: Function) -> bool:
    """Whether the function's own body has a `yield`, which one in a function inside it does not count for."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(node, Definition | ast.Lambda):
            waiting += ast.iter_child_nodes(node)
    return False
