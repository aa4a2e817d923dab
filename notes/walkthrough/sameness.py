"""Whether two pieces of source say the same: by their trees, without what a block holds, and up to renamed locals."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Set
from itertools import zip_longest

from notes.walkthrough.body import BLOCKS
from tracing.source.shape import fields

ASIDE = (*BLOCKS, "decorator_list")


class Sameness:
    """One comparison. `renames` says which names of the one side are called otherwise on the other; where a name is
    `unknown` to the other side, one of the `free` names there may stand for it, the same everywhere."""

    def __init__(
        self, renames: Mapping[str, str], unknown: Set[str] = frozenset(), free: Set[str] = frozenset()
    ) -> None:
        self.renames = dict(renames)
        self._unknown = unknown
        self._free = free

    def of(self, one: object, other: object) -> bool:
        """Whether they are the same; what a block holds is left aside."""
        if type(one) is not type(other):
            return False
        if isinstance(one, ast.Name) and isinstance(other, ast.Name):
            return self._name(one.id, other.id)
        if isinstance(one, ast.Call) and isinstance(other, ast.Call) and _whatever(one):
            return self.of(one.func, other.func)
        if isinstance(one, ast.AST) and isinstance(other, ast.AST):
            pairs = zip_longest(_fields(one), _fields(other), fillvalue=("", None))
            return all(name == twin and self.of(value, like) for (name, value), (twin, like) in pairs)
        if isinstance(one, list) and isinstance(other, list):
            return len(one) == len(other) and all(map(self.of, one, other))
        return one == other

    def _name(self, one: str, other: str) -> bool:
        if one in self.renames:
            return self.renames[one] == other
        if one in self._unknown and other in self._free and other not in self.renames.values():
            self.renames[one] = other
            return True
        return one == other


def _whatever(call: ast.Call) -> bool:
    """Whether a call says nothing of its arguments: `f(...)`."""
    match call:
        case ast.Call(args=[ast.Constant(value=value)], keywords=[]):
            return value is ...
    return False


def _fields(node: ast.AST) -> list[tuple[str, object]]:
    return [(name, value) for name, value in fields(node) if not (name in ASIDE and isinstance(value, list))]
