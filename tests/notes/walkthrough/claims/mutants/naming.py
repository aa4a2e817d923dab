"""What a stop's sentences name in its function, by the text alone: its line, code in backquotes, names, numbers."""

from __future__ import annotations

import ast
import copy
import re
from dataclasses import dataclass
from functools import cached_property

from notes.walkthrough.body import Body, one_way
from notes.walkthrough.chapters import Stop
from tracing.source.definitions import Definition

DECIDING = (ast.If, ast.While, ast.For, ast.AsyncFor)
CODE = re.compile(r"`([^`]+)`")
WORD = re.compile(r"[A-Za-z_][A-Za-z_0-9]{3,}")
NUMBER = re.compile(r"(?<![\w{-])\d+(?:\.\d+)?(?![\w}-])")
EVERYWHERE = {"self", "None", "True", "False", "request", "return", "async", "await", "python", "vllm"}


@dataclass(frozen=True)
class Naming:
    """A function and a stop of it; `statements` are numbers in the order of `ast.walk`."""

    function: ast.AST
    stop: Stop

    @cached_property
    def statements(self) -> set[int]:
        """The statements that the sentences name by their heads, and those of `_around`."""
        nodes = enumerate(ast.walk(self.function))
        return {number for number, node in nodes if (_at(node) or 0) in self._around or self._names(node)}

    @cached_property
    def _around(self) -> list[tuple[int, int] | None]:
        """Where the statement with the stop's line begins, and the nearest test or loop around it."""
        body = Body(one_way(copy.deepcopy(self.function)), 1)
        for node in self.stop.anchor.fragment.nodes(body):
            own, *holders = [each for each in (node, *(holder for holder, _ in body.holders(node))) if _at(each)]
            return [_at(each) for each in (own, *[each for each in holders if isinstance(each, DECIDING)][:1])]
        return []

    def _names(self, node: ast.AST) -> bool:
        return _at(node) is not None and not isinstance(node, ast.Assert) and any(map(self._named, _head(node)))

    def _named(self, node: ast.AST) -> bool:
        match node:
            case ast.Call(func=ast.Name(id=word) | ast.Attribute(attr=word)) if word in self._called:
                return True
            case ast.Name(id=word) | ast.Attribute(attr=word) | ast.keyword(arg=word) | ast.arg(arg=word):
                return word in self._words
            case ast.Constant(value=str(word)):
                return word in self._words
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return value in self._numbers
        return False

    @cached_property
    def _called(self) -> set[str]:
        return {target.rpartition(".")[2] for target in (self.stop.calls, self.stop.sends_to)}

    @cached_property
    def _words(self) -> set[str]:
        codes = CODE.findall(self.stop.text)
        plain = [word for word in WORD.findall(self.stop.text) if "_" in word or word[1:] != word[1:].lower()]
        return {word for code in codes for word in WORD.findall(code)} - EVERYWHERE | set(plain)

    @cached_property
    def _numbers(self) -> set[float]:
        return {float(number) for number in NUMBER.findall(self.stop.text)}


def _at(node: ast.AST) -> tuple[int, int] | None:
    """Where a statement begins; None for what is none, or a definition."""
    if isinstance(node, ast.stmt | ast.ExceptHandler) and not isinstance(node, Definition):
        return node.lineno, node.col_offset
    return None


def _head(node: ast.AST) -> list[ast.AST]:
    """What stands in a statement itself, without the statements in it."""
    nodes = [node]
    for each in nodes:
        nodes += [n for n in ast.iter_child_nodes(each) if not isinstance(n, ast.stmt | ast.ExceptHandler)]
    return nodes
