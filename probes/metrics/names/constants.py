"""Texts and lists of texts that a source tree writes out somewhere, found by name; nothing of it is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field

Values = dict[str, ast.expr]


@dataclass
class Constants:
    """What modules and classes of a tree assign to names, and those names that mean different things in two places."""

    values: Values = field(default_factory=dict)

    def add(self, module: ast.Module) -> None:
        """Take in a module's constants, and its classes' as `Class.NAME`."""
        self.values |= assigned(module.body)
        for node in module.body:
            if isinstance(node, ast.ClassDef):
                self.values |= {f"{node.name}.{name}": value for name, value in assigned(node.body).items()}

    def text(self, node: ast.AST | None, local: Values) -> str | None:
        """The text that an expression stands for; None where the source does not write it out."""
        match self._resolved(node, local):
            case ast.Constant(value=str(text)):
                return text
            case _:
                return None

    def texts(self, node: ast.AST | None, local: Values, base: tuple[str, ...]) -> tuple[str, ...] | None:
        """The list of texts that an expression stands for; what a caller passed in as its label names is `base`."""
        if node is None:
            return ()
        match self._resolved(node, local):
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return self._each(items, local, base)
            case ast.BinOp(op=ast.Add(), left=left, right=right):
                sides = [self.texts(side, local, base) for side in (left, right)]
                return None if None in sides else tuple(text for side in sides for text in side or ())
            case ast.Call(func=ast.Name(id="list" | "tuple"), args=[inside]):
                return self.texts(inside, local, base)
            case ast.Call(func=ast.Attribute(attr="keys")):
                return None  # of a dict that is only known when it runs
            case ast.Name(id=name) | ast.Attribute(attr=name) if name.lstrip("_") == "labelnames":
                return base
            case ast.Constant(value=str(text)):
                return (text,)
            case _:
                return None

    def _each(self, items: Iterable[ast.expr], local: Values, base: tuple[str, ...]) -> tuple[str, ...] | None:
        texts: list[str] = []
        for item in items:
            inside = item.value if isinstance(item, ast.Starred) else item
            more = self.texts(inside, local, base)
            if more is None:
                return None
            texts += more
        return tuple(texts)

    def _resolved(self, node: ast.AST | None, local: Values) -> ast.AST | None:
        """What a name or an attribute stands for, followed as far as it is written out."""
        for _ in range(5):  # a constant may be another one
            match node:
                case ast.Name(id=name) if name in local and local[name] is not node:
                    node = local[name]
                case ast.Name(id=name) if name in self.values:
                    node = self.values[name]
                case ast.Attribute(value=ast.Name(id="self"), attr=name) if f"self.{name}" in local:
                    node = local[f"self.{name}"]
                case ast.Attribute(value=ast.Name(id=owner), attr=name) if f"{owner}.{name}" in self.values:
                    node = self.values[f"{owner}.{name}"]
                case _:
                    return node
        return node


def assigned(body: Iterable[ast.stmt]) -> Values:
    """The names to which statements assign, `self.name` too, with the last value of each."""
    values: Values = {}
    for statement in body:
        match statement:
            case ast.Assign(targets=[target], value=value) | ast.AnnAssign(target=target, value=ast.expr() as value):
                match target:
                    case ast.Name(id=name):
                        values[name] = value
                    case ast.Attribute(value=ast.Name(id="self"), attr=name):
                        values[f"self.{name}"] = value
    return values
