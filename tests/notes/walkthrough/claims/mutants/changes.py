"""A change to a function's syntax tree: of one node, or at one place of a block of statements."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass

Statements = list[ast.stmt]
PASSIVE = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Import,
    ast.ImportFrom,
    ast.Pass,
    ast.Global,
    ast.Nonlocal,
    ast.Assert,
)


@dataclass(frozen=True)
class NodeChange:
    """A change of one node."""

    kind: str
    applies: Callable[[ast.AST], bool]
    change: Callable[[ast.AST], None]


@dataclass(frozen=True)
class BlockChange:
    """A change at one place of a block; `reach` says which statements of it say something else then."""

    kind: str
    applies: Callable[[Statements, int], bool]
    change: Callable[[Statements, int], None]
    reach: Callable[[Statements, int], Statements]


def does(block: Statements, at: int) -> bool:
    """Whether a statement does something: no definition, import, docstring, declaration or log."""
    return not isinstance(block[at], PASSIVE) and not is_log(block[at]) and not _is_text(block[at])


def is_log(statement: ast.stmt) -> bool:
    """Whether a statement only writes to the log."""
    return isinstance(statement, ast.Expr) and ast.unparse(statement).startswith("logger.")


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
