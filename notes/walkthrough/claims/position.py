"""Where a node stands in its function: what decides whether it runs, whether it can run at all, and what runs first."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from notes.walkthrough.body import BLOCKS, Body, denied

LEAVING = (ast.Return, ast.Raise, ast.Continue, ast.Break)
LOOPS = (ast.While, ast.For, ast.AsyncFor)


def tests(body: Body, node: ast.AST) -> Iterator[ast.AST]:
    """The tests that are true wherever a node runs, each as one that is: of `if`s, of loops, of returns before it."""
    for holder, child in body.holders(node):
        for test, holds in (*_decides(holder, child), *_exits_before(holder, child)):
            yield from _true(test, holds)


def heads(body: Body, node: ast.AST) -> Iterator[ast.AST]:
    """The blocks that a node is in, not counting what stands in their heads."""
    for holder, child in body.holders(node):
        if _block(holder, child):
            yield holder


def runs(body: Body, node: ast.AST) -> bool:
    """Whether a node can run, as far as constants and statements that never go on tell."""
    if any(_truth(test) is False for test in tests(body, node)):
        return False
    return not any(_ends(before) for holder, child in body.holders(node) for before in _earlier(holder, child))


def decision(body: Body, node: ast.AST) -> ast.AST | None:
    """What decides over a node in its function: a test, a loop or a handler; None where it runs in every call.

    A refusal (`if …: raise`) before it is no decision, nor is a test that is always true.
    """
    for holder, child in body.holders(node):
        if isinstance(holder, (*LOOPS, ast.ExceptHandler)) and _block(holder, child):
            return holder
        for test, holds in (*_decides(holder, child), *_exits_before(holder, child, refusals=False)):
            if _truth(test) is not holds:
                return test
    return None


def apart(body: Body, one: ast.AST, other: ast.AST) -> bool:
    """Whether two nodes are in two branches of one `if`, of which one run takes only one."""
    branches = {(holder, _block(holder, child)) for holder, child in body.holders(one)}
    for holder, child in body.holders(other):
        own = _block(holder, child)
        if isinstance(holder, ast.If) and own and any(h is holder and block not in ("", own) for h, block in branches):
            return True
    return False


def end(node: ast.AST) -> tuple[int, int]:
    """Where in the text a node is done; of a block, where its head is."""
    if isinstance(node, ast.If | ast.While):
        return end(node.test)
    if isinstance(node, ast.For | ast.AsyncFor):
        return end(node.iter)
    if isinstance(node, ast.With | ast.AsyncWith):
        return end(node.items[-1].context_expr)
    if isinstance(node, ast.ExceptHandler | ast.Try | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return node.lineno, node.col_offset
    return getattr(node, "end_lineno", 0), getattr(node, "end_col_offset", 0)


def _block(holder: ast.AST, child: ast.AST) -> str:
    """Which of a statement's blocks has a node; empty where it stands in the head."""
    for name in BLOCKS:
        block = getattr(holder, name, None)
        if isinstance(block, list) and any(child is each for each in block):
            return name
    return ""


def _earlier(holder: ast.AST, child: ast.AST) -> list[ast.stmt]:
    """The statements before a node in its own block."""
    block = getattr(holder, _block(holder, child), []) if _block(holder, child) not in ("", "handlers", "cases") else []
    return block[: next((place for place, each in enumerate(block) if each is child), 0)]


def _decides(holder: ast.AST, child: ast.AST) -> Iterator[tuple[ast.expr, bool]]:
    """The tests of a holder that let a node of it run, each with what it must be."""
    match holder:
        case ast.If(test=test) | ast.While(test=test):
            if block := _block(holder, child):
                yield test, block == "body"
        case ast.IfExp(test=test) if child is not test:
            yield test, child is holder.body
        case ast.BoolOp(op=op, values=values):
            place = next(place for place, each in enumerate(values) if each is child)
            yield from ((value, isinstance(op, ast.And)) for value in values[:place])
        case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() if child is holder.elt:
            yield from ((test, True) for generator in holder.generators for test in generator.ifs)


def _exits_before(holder: ast.AST, child: ast.AST, refusals: bool = True) -> Iterator[tuple[ast.expr, bool]]:
    """The tests before a node in its block of which one branch does not go on."""
    for before in _in_a_row(_earlier(holder, child)):
        if isinstance(before, ast.If):
            for block, holds in ((before.body, False), (before.orelse, True)):
                if block and _leaves(block) and (refusals or not isinstance(block[-1], ast.Raise)):
                    yield before.test, holds


def _in_a_row(statements: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements, with those in blocks that always run, one after the other too."""
    for statement in statements:
        yield statement
        match statement:
            case ast.With(body=body) | ast.AsyncWith(body=body):
                yield from _in_a_row(body)
            case ast.If(test=test, body=body) if _truth(test):
                yield from _in_a_row(body)


def _true(test: ast.expr, holds: bool) -> Iterator[ast.AST]:
    """A test as the ones that are all true: itself, and the parts of an `and`."""
    yield test if holds else denied(test)
    match test:
        case ast.BoolOp(op=ast.And(), values=parts) if holds:
            yield from (each for part in parts for each in _true(part, True))
        case ast.BoolOp(op=ast.Or(), values=parts) if not holds:
            yield from (each for part in parts for each in _true(part, False))
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            yield from _true(inner, not holds)


def _truth(test: ast.AST) -> bool | None:
    """What a test is where constants alone tell."""
    match test:
        case ast.BoolOp(op=op, values=values):
            parts, strong = [_truth(value) for value in values], isinstance(op, ast.Or)
            return strong if strong in parts else None if None in parts else not strong
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            inner_truth = _truth(inner)
            return None if inner_truth is None else not inner_truth
        case ast.Name(id="TYPE_CHECKING"):
            return False
        case ast.NamedExpr(value=value):
            return _truth(value)
        case ast.Constant(value=value):
            return bool(value)
        case ast.List(elts=[]) | ast.Tuple(elts=[]) | ast.Dict(keys=[]):
            return False
        case ast.Compare(left=ast.Constant(), comparators=[ast.Constant()]):
            return bool(eval(compile(ast.Expression(test), "", "eval"), {}))  # two constants and an operator
    return None


def _leaves(block: list[ast.stmt]) -> bool:
    """Whether a block never goes on behind its end."""
    return any(_ends(statement) for statement in block)


def _ends(statement: ast.stmt) -> bool:
    match statement:
        case ast.If(test=test, body=body, orelse=orelse):
            if (truth := _truth(test)) is not None:
                return _leaves(body if truth else orelse)
            return bool(orelse) and _leaves(body) and _leaves(orelse)
        case ast.While(test=test, body=body):
            return _truth(test) is True and not any(isinstance(n, ast.Break) for s in body for n in ast.walk(s))
        case ast.With(body=body) | ast.AsyncWith(body=body):
            return isinstance(body[-1], ast.Return | ast.Continue | ast.Break) and _leaves(body)
    return isinstance(statement, LEAVING)
