"""What a function calls, as far as its text says: names of its class and file, its imports, and of the whole tree."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
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
    | `self.h()`            | where the class has `self.h = self.g`: `vllm.a:A.g`        |
    | `self.b()`            | where it has `self.b = B()`: the `forward` of that class   |
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


def _candidates(tree: SourceTree, target: str, place: Place, node: ast.Call) -> list[str]:
    """The places that a call means: those of the first way to read it that leads to any."""
    module, _, qualname = target.partition(":")
    owner = qualname.rpartition(".")[0]
    ways: tuple[Iterable[str | None], ...]
    match node.func:
        case ast.Name(id=name):
            ways = [f"{module}:{name}"], [imports(place.text).get(name)]
        case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name) if owner:
            held = _held(tree, f"{module}:{owner}", name)
            ways = [f"{module}:{owner}.{name}"], held, [tree.only_definition(name)]
        case ast.Attribute(attr=name):
            ways = ([tree.only_definition(name)],)
        case _:
            ways = ()
    functions = ([each for name in names if name for each in _function(tree, name)] for names in ways)
    return next(filter(None, functions), [])


def _held(tree: SourceTree, owner: str, name: str) -> Iterator[str]:
    """What is called by an attribute of a class: methods that are assigned to it, or the `forward` of an object."""
    for place, value in _assigned(tree, owner, name):
        yield from _methods(tree, owner, value)
        for node in ast.walk(value):
            match node:
                case ast.Call(func=ast.Name(id=kind)):
                    beside = f"{owner.partition(':')[0]}:{kind}"
                    yield from _forward(tree, imports(place.text).get(kind, beside))


def _forward(tree: SourceTree, kind: str) -> Iterator[str]:
    """What a call of an object of a class runs."""
    own = [f"{kind}.{name}" for name in ("__call__", "forward") if tree.find_place(f"{kind}.{name}")]
    yield from own[:1]
    for _, value in _assigned(tree, kind, "forward") if not own else ():
        yield from _methods(tree, kind, value)


def _methods(tree: SourceTree, owner: str, value: ast.expr) -> Iterator[str]:
    """The methods of a class that an expression names by `self`."""
    for node in ast.walk(value):
        match node:
            case ast.Attribute(value=ast.Name(id="self"), attr=name) if tree.find_place(f"{owner}.{name}"):
                yield f"{owner}.{name}"


def _assigned(tree: SourceTree, owner: str, name: str) -> Iterator[tuple[Place, ast.expr]]:
    """What the methods of a class assign to an attribute, and where."""
    module, _, qualname = owner.partition(":")
    for each, place in tree.definitions(module).items():
        if each.startswith(f"{qualname}.") and any(f"self.{name} = " in line for line in place.lines()):
            for node in (inner for statement in statements(place) for inner in ast.walk(statement)):
                match node:
                    case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=attribute)], value=value):
                        if attribute == name:
                            yield place, value


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
