"""What a stop's sentences name in its function, by the text alone: its line, code in backquotes, names, numbers."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cached_property

from notes.walkthrough.body import Body, one_way
from notes.walkthrough.chapters import Stop

CODE = re.compile(r"`([^`]+)`")
WORD = re.compile(r"[A-Za-z_][A-Za-z_0-9]{3,}")
NUMBER = re.compile(r"(?<![\w{-])\d+(?:\.\d+)?(?![\w}-])")
EVERYWHERE = {"self", "None", "True", "False", "request", "return", "async", "await", "python", "vllm"}


@dataclass(frozen=True)
class Named:
    """A function and a stop of it; `statements` are numbers in the order of `ast.walk`."""

    function: ast.AST
    stop: Stop

    @cached_property
    def statements(self) -> set[int]:
        """The statements that the sentences name, by their heads, and the test around the stop's line."""
        numbers = {id(node): number for number, node in enumerate(ast.walk(self.function))}
        named = {id(node) for node in ast.walk(self.function) if _is_statement(node) and self._names(node)}
        return {numbers[each] for each in (named | self._own) if each in numbers}

    @cached_property
    def _own(self) -> set[int]:
        """The statement that has the stop's line, and the nearest test or loop around it."""
        body = Body(one_way(self.function), 1)
        own: set[int] = set()
        for node in self.stop.anchor.fragment.nodes(body):
            around = [node, *(holder for holder, _ in body.holders(node))]
            holders = [each for each in around if _is_statement(each)]
            own.add(id(holders[0]))
            own.update(id(each) for each in [e for e in holders[1:] if isinstance(e, ast.If | ast.While | ast.For)][:1])
        return own

    def _names(self, node: ast.AST) -> bool:
        return any(self._named(each) for each in _head(node))

    def _named(self, node: ast.AST) -> bool:
        match node:
            case ast.Name(id=word) | ast.Attribute(attr=word) | ast.keyword(arg=word) | ast.arg(arg=word):
                return word in self._words
            case ast.Constant(value=str(word)):
                return word in self._words
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return value in self._numbers
        return False

    @cached_property
    def _words(self) -> set[str]:
        codes = [
            *CODE.findall(self.stop.text),
            self.stop.calls.rpartition(".")[2],
            self.stop.sends_to.rpartition(".")[2],
        ]
        plain = [word for word in WORD.findall(self.stop.text) if "_" in word or word[1:] != word[1:].lower()]
        return {word for code in codes for word in WORD.findall(code)} - EVERYWHERE | set(plain)

    @cached_property
    def _numbers(self) -> set[float]:
        return {float(number) for number in NUMBER.findall(self.stop.text)}


def _is_statement(node: ast.AST) -> bool:
    return isinstance(node, ast.stmt | ast.ExceptHandler) and not isinstance(
        node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    )


def _head(node: ast.AST) -> list[ast.AST]:
    """What stands in a statement itself, without the statements in it."""
    found, waiting = [], [node]
    for each in waiting:
        found.append(each)
        waiting += [n for n in ast.iter_child_nodes(each) if not isinstance(n, ast.stmt | ast.ExceptHandler)]
    return found
