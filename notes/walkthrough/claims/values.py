"""The value that a name begins with: a parameter, a field of a class, an assignment, an environment variable."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from notes.walkthrough.body import Body
from notes.walkthrough.claims.position import runs
from tracing.source.definitions import Function

FIELDS = ("Field", "field")


def defaults(body: Body, name: str) -> list[ast.AST]:
    """The values that `name` begins with in a function, a class or a file; an attribute is named with its owner."""
    parameters = list(_of_parameter(body, name))
    return parameters or [*_assigned(body, name), *_of_environment(body, name)]


def same_value(one: ast.AST, other: ast.AST) -> bool:
    """Whether two expressions are one value; a text of digits counts as its number, as in an environment."""
    try:
        left, right = (ast.literal_eval(each) for each in (one, other))
    except ValueError:
        return ast.unparse(one) == ast.unparse(other)
    return (type(left), left) == (type(right), right) or (isinstance(right, str) and str(left) == right)


def _of_parameter(body: Body, name: str) -> Iterator[ast.AST]:
    if isinstance(body.node, Function):
        arguments = body.node.args
        positional = [*arguments.posonlyargs, *arguments.args]
        parameters = [*positional[len(positional) - len(arguments.defaults) :], *arguments.kwonlyargs]
        for parameter, value in zip(parameters, [*arguments.defaults, *arguments.kw_defaults], strict=True):
            if parameter.arg == name and value is not None:
                yield value


def _assigned(body: Body, name: str) -> Iterator[ast.AST]:
    """What is assigned to a name where it can run, with `Field(default=…)` as that default."""
    for node in body.by_type.get(ast.Assign, []):
        if isinstance(node, ast.Assign) and name in map(ast.unparse, node.targets) and runs(body, node):
            yield _field(node.value)


def _field(value: ast.AST) -> ast.AST:
    match value:
        case ast.Call(func=ast.Name(id=word) | ast.Attribute(attr=word)) if word in FIELDS:
            keywords = [keyword.value for keyword in value.keywords if keyword.arg in ("default", "default_factory")]
            return [*keywords, *value.args, value][0]
    return value


def _of_environment(body: Body, name: str) -> Iterator[ast.AST]:
    """The second argument of `getenv("NAME", "VALUE")` and its like, and of `get`."""
    for node in body.by_type.get(ast.Call, []):
        match node:
            case ast.Call(args=[ast.Constant(value=word), value, *_]) if word == name:
                yield value
