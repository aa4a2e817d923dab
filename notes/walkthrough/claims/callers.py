"""Who calls a function by its name, in a whole tree."""

from __future__ import annotations

import ast

from notes.walkthrough.body import body
from tracing.source.tree import SourceTree


def callers(tree: SourceTree, name: str) -> set[str]:
    """The functions, by the last part of their names, that call something of this `name` or hand it on."""
    nodes = (body(place).node for place in tree.naming(name))
    return {str(getattr(node, "name", "")) for node in nodes if any(_names(each, name) for each in ast.walk(node))}


def _names(node: ast.AST, name: str) -> bool:
    match node:
        case ast.Name(id=word) | ast.Attribute(attr=word):
            return word == name
    return False
