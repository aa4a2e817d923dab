"""The defaults of vLLM's parameters that a text quotes, read from vLLM's source, which is not imported.

A quoted value is inline code with a comment behind it that says where it stands, so that the text reads well as it is:

| marker                                                              | the value                                     |
| ------------------------------------------------------------------- | --------------------------------------------- |
| `0.92`, `<!--default FILE.py:Class.field-->`                        | a field's default, through other classes too   |
| `256`, `<!--default FILE.py:Class.method variable[2] KEY-->`        | in a method, KEY of the third dict so assigned |
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from notes.study.anchored import find_place
from probes.errors import EnginescopeError
from tracing.source.definitions import Place
from tracing.source.likeness import statements
from tracing.source.tree import SourceTree

MARKER = re.compile(r"`(?P<quote>[^`]*)`<!--default (?P<where>[^>]+?)-->")
DICT = re.compile(r"(?P<method>\S+) (?P<variable>\w+)\[(?P<number>\d+)\] (?P<key>\w+)")
FOLLOWED = "config"  # the folder of vLLM in which a class stands that another's default refers to


def rendered(text: str, tree: SourceTree) -> str:
    """A text with every quoted default as this tree has it, and without the comments."""
    return MARKER.sub(lambda match: f"`{default(match['where'], tree)}`", text)


def stale(text: str, tree: SourceTree) -> list[str]:
    """A line for each quoted default that is another in this tree."""
    quotes = ((match["where"], match["quote"], default(match["where"], tree)) for match in MARKER.finditer(text))
    return [f"{where}: the text says {old}, vLLM {tree.version} {now}" for where, old, now in quotes if old != now]


def default(where: str, tree: SourceTree) -> str:
    """The source text of one default; raises `EnginescopeError` where it is not there."""
    value = _in_dict(match, tree) if (match := DICT.fullmatch(where)) else _of_field(where, tree)
    return ast.unparse(value)


def _of_field(where: str, tree: SourceTree) -> ast.expr:
    owner, _, name = where.rpartition(".")
    return _field(_class(owner, tree), name, tree)


def _field(owner: ast.ClassDef, name: str, tree: SourceTree) -> ast.expr:
    """A field's default, followed to where it is written: `Field(default=…)`, another field, another class's field."""
    assigned = [node for node in owner.body if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name]
    if not assigned or assigned[-1].value is None:
        raise EnginescopeError(f"class {owner.name} of vLLM {tree.version} gives no default to {name}")
    match assigned[-1].value:
        case ast.Call(func=ast.Name(id="Field" | "field"), keywords=keywords):
            value = next((keyword.value for keyword in keywords if keyword.arg == "default"), assigned[-1].value)
        case ast.Call(func=ast.Name(id="get_field"), args=[ast.Name(id=other), ast.Constant(value=str(field))]):
            return _field(_config_class(other, tree), field, tree)
        case plain:
            value = plain
    match value:
        case ast.Name(id=field):
            return _field(owner, field, tree)
        case ast.Attribute(value=ast.Name(id=other), attr=field):
            return _field(_config_class(other, tree), field, tree)
    return value


def _in_dict(match: re.Match[str], tree: SourceTree) -> ast.expr:
    node = _parsed(match["method"], tree)
    dicts = [value for value in _assigned(node, match["variable"]) if isinstance(value, ast.Dict)]
    number = int(match["number"])
    for key, value in zip(dicts[number].keys, dicts[number].values, strict=True) if number < len(dicts) else ():
        if key is not None and ast.unparse(key).rpartition(".")[2] == match["key"]:
            return value
    raise EnginescopeError(f"vLLM {tree.version} has no {match[0]}")


def _assigned(node: ast.AST, variable: str) -> Iterator[ast.expr]:
    """What a name is assigned in a function, in the order of the source."""
    assignments = [each for each in ast.walk(node) if isinstance(each, ast.Assign)]
    for assignment in sorted(assignments, key=lambda each: each.lineno):
        if any(ast.unparse(target) == variable for target in assignment.targets):
            yield assignment.value


def _class(anchor: str, tree: SourceTree) -> ast.ClassDef:
    node = _parsed(anchor, tree)
    if not isinstance(node, ast.ClassDef):
        raise EnginescopeError(f"{anchor} is not a class in vLLM {tree.version}")
    return node


def _config_class(name: str, tree: SourceTree) -> ast.ClassDef:
    """A class of vLLM's configuration, whichever of its files it is in."""
    for path in sorted((tree.root / FOLLOWED).glob("*.py")):  # by text first: to resolve what is not there takes long
        if re.search(rf"^class {name}\b", path.read_text(errors="replace"), re.MULTILINE):
            return _class(f"vllm/{FOLLOWED}/{path.name}:{name}", tree)
    raise EnginescopeError(f"vLLM {tree.version} has no class {name} in vllm/{FOLLOWED}")


def _parsed(anchor: str, tree: SourceTree) -> ast.stmt:
    place = find_place(anchor, tree)
    if not isinstance(place, Place):
        raise EnginescopeError(str(place))
    [node] = statements(place)
    return node
