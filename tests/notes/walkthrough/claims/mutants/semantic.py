"""Changes of meaning, by kind: each says where it applies and is made in place, and knows nothing of the notes."""

from __future__ import annotations

import ast
from collections.abc import Callable

from tests.notes.walkthrough.claims.mutants.changes import BlockChange, NodeChange, Statements, does

QUEUE_ENDS = {
    "append": "appendleft",
    "appendleft": "append",
    "pop": "popleft",
    "popleft": "pop",
    "popleft_n": "pop_n",
    "append_n": "prepend_n",
    "prepend_n": "append_n",
    "prepend_request": "add_request",
    "prepend_requests": "add_requests",
    "get": "get_nowait",
    "get_nowait": "get",
    "put_nowait": "put_front",
    "extend": "extendleft",
}
SOCKETS = {
    "ROUTER": "DEALER",
    "DEALER": "ROUTER",
    "PUSH": "PUB",
    "PULL": "SUB",
    "XPUB": "PUB",
    "XSUB": "SUB",
    "PAIR": "REQ",
}
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
}
ENDING = ("abort", "free", "finish", "discard", "close", "shutdown", "kill", "terminate", "error", "exception")


def _negate(node: ast.AST) -> None:
    node.test = ast.UnaryOp(ast.Not(), node.test)  # type: ignore[attr-defined]


def _swap_and_or(node: ast.AST) -> None:
    assert isinstance(node, ast.BoolOp)
    node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()


def _compare_otherwise(node: ast.AST) -> None:
    assert isinstance(node, ast.Compare)
    node.ops[0] = COMPARISONS[type(node.ops[0])]()


def _compute_otherwise(node: ast.AST) -> None:
    assert isinstance(node, ast.BinOp | ast.AugAssign)
    node.op = OPERATORS[type(node.op)]()


def _name_otherwise(names: dict[str, str]) -> Callable[[ast.AST], None]:
    def change(node: ast.AST) -> None:
        assert isinstance(node, ast.Attribute)
        node.attr = names[node.attr]

    return change


def _is_queue_end(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in QUEUE_ENDS


def _other_end(node: ast.AST) -> None:
    assert isinstance(node, ast.Call)
    _name_otherwise(QUEUE_ENDS)(node.func)


def _is_last(node: ast.AST) -> bool:
    return isinstance(node, ast.Subscript) and ast.unparse(node.slice) in ("-1", "0")


def _other_item(node: ast.AST) -> None:
    assert isinstance(node, ast.Subscript)
    node.slice = ast.Constant(0 if ast.unparse(node.slice) == "-1" else -1)


def _is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def _other_unit(node: ast.AST) -> None:
    assert isinstance(node, ast.Constant) and isinstance(node.value, int | float)
    node.value = node.value * 1000 if node.value else 1


def _has_default(node: ast.AST) -> bool:
    return isinstance(node, ast.arguments) and bool(node.defaults or [each for each in node.kw_defaults if each])


def _other_default(node: ast.AST) -> None:
    assert isinstance(node, ast.arguments)
    values = [*node.defaults, *(each for each in node.kw_defaults if each)]
    value = values[0]
    literal = value.value if isinstance(value, ast.Constant) else None
    other = ast.Constant(not literal if isinstance(literal, bool) else 7)
    if node.defaults:
        node.defaults[0] = other
    else:
        node.kw_defaults[node.kw_defaults.index(value)] = other


def _is_flag(node: ast.AST) -> bool:
    return isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, bool)


def _other_flag(node: ast.AST) -> None:
    assert isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant)
    node.value.value = not node.value.value


def _extreme(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("min", "max")


def _other_extreme(node: ast.AST) -> None:
    assert isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    node.func.id = "max" if node.func.id == "min" else "min"


def _waits(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr | ast.Assign | ast.Return) and isinstance(node.value, ast.Await)


def _no_longer_waits(node: ast.AST) -> None:
    assert isinstance(node, ast.Expr | ast.Assign | ast.Return) and isinstance(node.value, ast.Await)
    node.value = node.value.value


def _narrow(node: ast.AST) -> None:
    assert isinstance(node, ast.ExceptHandler)
    node.type = ast.Name("KeyError", ast.Load())


NODE_CHANGES = (
    NodeChange("condition", lambda node: isinstance(node, ast.If | ast.While | ast.IfExp), _negate),
    NodeChange("condition", lambda node: isinstance(node, ast.BoolOp), _swap_and_or),
    NodeChange("condition", lambda n: isinstance(n, ast.Compare) and type(n.ops[0]) in COMPARISONS, _compare_otherwise),
    NodeChange("arithmetic", lambda n: type(getattr(n, "op", None)) in OPERATORS, _compute_otherwise),
    NodeChange("arithmetic", _extreme, _other_extreme),
    NodeChange("queue end", _is_queue_end, _other_end),
    NodeChange("queue end", _is_last, _other_item),
    NodeChange("socket type", lambda n: isinstance(n, ast.Attribute) and n.attr in SOCKETS, _name_otherwise(SOCKETS)),
    NodeChange("unit", _is_number, _other_unit),
    NodeChange("default", _has_default, _other_default),
    NodeChange("argument", _is_flag, _other_flag),
    NodeChange("waiting", _waits, _no_longer_waits),
    NodeChange("abort path", lambda node: isinstance(node, ast.ExceptHandler), _narrow),
)  # fmt: skip


def _ends_something(block: Statements, at: int) -> bool:
    text = ast.unparse(block[at])
    return isinstance(block[at], ast.Raise) or (
        does(block, at) and isinstance(block[at], ast.Expr) and any(word in text for word in ENDING)
    )


def _two_do(block: Statements, at: int) -> bool:
    return at + 1 < len(block) and does(block, at) and does(block, at + 1)


def _swap(block: Statements, at: int) -> None:
    block[at], block[at + 1] = block[at + 1], block[at]


def _never(block: Statements, at: int) -> None:
    block[at] = ast.If(ast.Constant(False), [block[at]], [])


def _return_before(block: Statements, at: int) -> None:
    block.insert(at, ast.Return(None))


def _drop(block: Statements, at: int) -> None:
    block[at] = ast.Pass()


BLOCK_CHANGES = (
    BlockChange("order", _two_do, _swap, lambda b, at: b[at : at + 2]),
    BlockChange("dead code", does, _never, lambda b, at: b[at : at + 1]),
    BlockChange("dead code", lambda b, at: at > 0 and does(b, at), _return_before, lambda b, at: b[at:]),
    BlockChange("missing", does, _drop, lambda b, at: b[at : at + 1]),
    BlockChange("abort path", _ends_something, _drop, lambda b, at: b[at : at + 1]),
)  # fmt: skip
CHANGES = (*NODE_CHANGES, *BLOCK_CHANGES)
