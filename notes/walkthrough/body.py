"""A definition as a syntax tree in which every node knows what it is in; two ways to write one thing are one here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from tracing.source.definitions import Place
from tracing.source.likeness import parse, parse_definition

BLOCKS = ("body", "handlers", "cases", "orelse", "finalbody")
MIRRORS: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Gt: ast.Lt, ast.GtE: ast.LtE}
NEGATIONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
}


@dataclass(frozen=True, eq=False)
class Body:
    """A function, a class or a whole file; `first` is the number of its first line in that file."""

    node: ast.AST
    first: int

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        return {child: node for node in ast.walk(self.node) for child in ast.iter_child_nodes(node)}

    @cached_property
    def by_type(self) -> dict[type[ast.AST], list[ast.AST]]:
        nodes: dict[type[ast.AST], list[ast.AST]] = {}
        for node in ast.walk(self.node):
            nodes.setdefault(type(node), []).append(node)
        return nodes

    @cached_property
    def names(self) -> set[str]:
        """Every plain name in it, its parameters among them."""
        return {node.id for node in self.by_type.get(ast.Name, []) if isinstance(node, ast.Name)} | self._parameters

    @cached_property
    def bound(self) -> set[str]:
        """The names that it gives a value to itself: parameters and locals."""
        names = [node for node in self.by_type.get(ast.Name, []) if isinstance(node, ast.Name)]
        return {node.id for node in names if not isinstance(node.ctx, ast.Load)} | self._parameters

    @cached_property
    def _parameters(self) -> set[str]:
        names = {node.arg for node in self.by_type.get(ast.arg, []) if isinstance(node, ast.arg)}
        return names - {"self", "cls"}

    def line(self, node: ast.AST) -> int:
        """The number of a node's line in its file: a definition is parsed one line lower than it stands."""
        return int(getattr(node, "lineno", 1)) + self.first - 2

    def holders(self, node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
        """Each holder of a node with what of it holds the node, from the inside to the definition itself."""
        while node is not self.node:
            yield self.parents[node], node
            node = self.parents[node]


def body(place: Place) -> Body:
    """The tree of a definition."""
    return _body(place.lines(), place.first)


@lru_cache(maxsize=64)
def whole(text: tuple[str, ...]) -> Body:
    """The tree of a whole file."""
    return Body(one_way(parse("\n".join(["pass", *text]))), 1)


@lru_cache(maxsize=1024)
def _body(lines: tuple[str, ...], first: int) -> Body:
    return Body(one_way(parse_definition(lines)[0]), first)


def one_way(node: ast.AST) -> ast.AST:
    """The node with `a > b` as `b < a`, `not a == b` as `a != b`, `a = a + b` as `a += b`, an assignment without its
    annotation and keywords by name; it is changed in place."""
    changed: ast.AST = _OneWay().visit(node)
    return changed


def denied(test: ast.expr) -> ast.AST:
    """The test that is true where this one is false."""
    return one_way(ast.copy_location(ast.UnaryOp(ast.Not(), test), test))


class _OneWay(ast.NodeTransformer):
    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        self.generic_visit(node)
        match node:
            case ast.Assign([target], ast.BinOp(left, op, right)) if ast.unparse(target) == ast.unparse(left):
                return ast.copy_location(ast.AugAssign(target, op, right), node)  # type: ignore[arg-type]
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None:
            return node
        return self.visit_Assign(ast.copy_location(ast.Assign([node.target], node.value), node))

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if all(keyword.arg for keyword in node.keywords):
            node.keywords.sort(key=lambda keyword: keyword.arg or "")
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        if len(node.ops) == 1 and type(node.ops[0]) in MIRRORS:
            node.ops[0] = MIRRORS[type(node.ops[0])]()
            node.left, node.comparators[0] = node.comparators[0], node.left
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        match node:
            case ast.UnaryOp(op=ast.Not(), operand=ast.UnaryOp(op=ast.Not(), operand=inner)):
                return inner
            case ast.UnaryOp(op=ast.Not(), operand=ast.Compare(left, [op], [right])):
                compared = ast.Compare(left, [NEGATIONS[type(op)]()], [right])
                return self.visit_Compare(ast.copy_location(compared, node))
        return node
