"""What a function calls, as far as its text says: names of its class and file, its imports, and of the whole tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

from tracing.source.definitions import UNREADABLE, Place
from tracing.source.likeness import parse, statements
from tracing.source.tree import PACKAGE, SourceTree


def calls(tree: SourceTree, target: str) -> list[str]:
    """The targets that a function calls, in the order of its text; what cannot be told from names is left out.

    | in `vllm.a:A.f`       | target, where it is defined                                |
    | --------------------- | ---------------------------------------------------------- |
    | `self.g()`            | `vllm.a:A.g`                                               |
    | `g()`                 | `vllm.a:g`, or that of `from vllm.b import g`              |
    | `self.helper.g()`     | the one function of the tree that is called `g`            |
    | `B()`                 | the `__init__` of that class                               |
    """
    place = tree.resolve(target)
    if not isinstance(place, Place):
        return []
    names = (name for node in _walk(place) for name in _candidates(tree, target, place, node))
    return list(dict.fromkeys(name for name in names if name != target))


def _walk(place: Place) -> Iterator[ast.Call]:
    nodes = [node for statement in statements(place) for node in ast.walk(statement)]
    own = [node for node in nodes if isinstance(node, ast.Call)]
    yield from sorted(own, key=lambda node: (node.lineno, node.col_offset))


def _candidates(tree: SourceTree, target: str, place: Place, node: ast.Call) -> Iterator[str]:
    """The first of the places that a call may mean."""
    module, _, qualname = target.partition(":")
    owner = qualname.rpartition(".")[0]
    names: list[str | None]
    match node.func:
        case ast.Name(id=name):
            names = [f"{module}:{name}", imports(place.text).get(name)]
        case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name) if owner:
            names = [f"{module}:{owner}.{name}", tree.only_definition(name)]
        case ast.Attribute(attr=name):
            names = [tree.only_definition(name)]
        case _:
            names = []
    functions = (each for name in names if name for each in _function(tree, name))
    yield from list(functions)[:1]


def _function(tree: SourceTree, target: str) -> Iterator[str]:
    place = tree.find_place(target)
    if place is not None and place.kind == "class":
        target, place = f"{target}.__init__", tree.find_place(f"{target}.__init__")
    if place is not None:
        yield target


@lru_cache(maxsize=256)
def imports(text: tuple[str, ...]) -> dict[str, str]:
    """What a file imports by name from vLLM, as targets."""
    try:
        tree = parse("\n".join(text))
    except UNREADABLE:
        return {}
    return {
        alias.asname or alias.name: f"{node.module}:{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == PACKAGE
        for alias in node.names
    }
