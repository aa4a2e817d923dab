"""Changes that leave every sentence about a function true: other names, other log texts, other ways to say the same."""

from __future__ import annotations

import ast
from collections.abc import Callable

from tests.notes.walkthrough.claims.mutants.changes import BlockChange, NodeChange, Statements, does, is_log

MIRRORS: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE}
LEAVING = (ast.Return, ast.Raise, ast.Continue, ast.Break)
TEXT = "another text"


def nowhere(block: Statements, at: int) -> Statements:
    """No statement says something else."""
    return []


def _turns(node: ast.Compare) -> bool:
    return type(node.ops[0]) in MIRRORS and len(node.ops) == 1


def _turn(node: ast.AST) -> None:
    assert isinstance(node, ast.Compare)
    node.ops[0] = MIRRORS[type(node.ops[0])]()
    node.left, node.comparators[0] = node.comparators[0], node.left


def _deny_twice(node: ast.AST) -> None:
    assert isinstance(node, ast.If | ast.While)
    node.test = ast.UnaryOp(ast.Not(), ast.UnaryOp(ast.Not(), node.test))


def _turn_branches(node: ast.AST) -> None:
    assert isinstance(node, ast.If)
    node.test = ast.UnaryOp(ast.Not(), node.test)
    node.body, node.orelse = node.orelse, node.body


def _other_order(node: ast.AST) -> None:
    assert isinstance(node, ast.Call)
    if all(keyword.arg for keyword in node.keywords):
        node.keywords.reverse()


def _locals(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Names that it gives a value to, the most used first."""
    names = [each for each in ast.walk(node) if isinstance(each, ast.Name)]
    inner = [each for each in ast.walk(node) if isinstance(each, ast.Global | ast.Nonlocal) for each in each.names]
    bound = {each.id for each in names if isinstance(each.ctx, ast.Store)} - set(inner)
    return sorted(bound, key=lambda name: (-sum(each.id == name for each in names), name))


def _rename(place: int) -> NodeChange:
    def applies(node: ast.AST) -> bool:
        return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and len(_locals(node)) > place

    def change(node: ast.AST) -> None:
        assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        own = _locals(node)[place]
        for each in ast.walk(node):
            if isinstance(each, ast.Name) and each.id == own:
                each.id = f"{own}_anew"
            if isinstance(each, ast.arg) and each.arg == own:
                each.arg = f"{own}_anew"

    return NodeChange("renamed local", applies, change)


def _other_text(node: ast.AST) -> None:
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            each.value = TEXT


def _insert(text: str) -> Callable[[Statements, int], None]:
    return lambda block, at: block.insert(at, ast.parse(text).body[0])


def _always(block: Statements, at: int) -> None:
    block[at] = ast.If(ast.Constant(True), [block[at]], [])


def _annotate(block: Statements, at: int) -> None:
    statement = block[at]
    assert isinstance(statement, ast.Assign)
    block[at] = ast.AnnAssign(statement.targets[0], ast.Name("object", ast.Load()), statement.value, simple=1)


def _annotatable(block: Statements, at: int) -> bool:
    statement = block[at]
    return isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)


def _spell_out(block: Statements, at: int) -> None:
    statement = block[at]
    assert isinstance(statement, ast.AugAssign)
    read = ast.parse(ast.unparse(statement.target), mode="eval").body
    block[at] = ast.Assign([statement.target], ast.BinOp(read, statement.op, statement.value))


NODE_CHANGES = (
    NodeChange("turned comparison", lambda n: isinstance(n, ast.Compare) and _turns(n), _turn),
    NodeChange("denied twice", lambda node: isinstance(node, ast.If | ast.While), _deny_twice),
    NodeChange("turned branches", lambda node: isinstance(node, ast.If) and bool(node.orelse), _turn_branches),
    NodeChange("keywords in another order", lambda n: isinstance(n, ast.Call) and len(n.keywords) > 1, _other_order),
    NodeChange("log text", lambda node: isinstance(node, ast.Expr) and is_log(node), _other_text),
    *map(_rename, range(6)),
)  # fmt: skip
BLOCK_CHANGES = (
    BlockChange("another log", does, _insert("logger.debug('more')"), nowhere),
    BlockChange("another assertion", does, _insert("assert True"), nowhere),
    BlockChange("another local", does, _insert("unused = 0"), nowhere),
    BlockChange("if True", lambda b, at: does(b, at) and not isinstance(b[at], LEAVING), _always, nowhere),
    BlockChange("annotation", _annotatable, _annotate, nowhere),
    BlockChange("spelled out", lambda b, at: isinstance(b[at], ast.AugAssign), _spell_out, nowhere),
)  # fmt: skip
CHANGES = (*NODE_CHANGES, *BLOCK_CHANGES)
