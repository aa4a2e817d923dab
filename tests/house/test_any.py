"""`Any` says that a type is not known. It stands where JSON is read, and where a comment says why."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.house.test_layout import ADAPTERS, EXERCISES, MODULES, ROOT

OURS = [name for name in MODULES if name not in ADAPTERS and not name.startswith(("tracing/hooks/", EXERCISES))]
READERS = {"json.load", "json.loads", "orjson.loads", "tomllib.loads", "ijson.items", "ast.literal_eval"}


def unexplained(source: str) -> Iterator[int]:
    """The lines with an `Any` of which no comment on the line or above it says why, in no function that reads JSON.

    | code                                       | is it here? |
    | ------------------------------------------ | ----------- |
    | `def write(values: Any) -> None: …`        | yes         |
    | `values: Any = x  # of vLLM's own type`    | no          |
    | `def read(x: str) -> Any: json.loads(x)`   | no          |
    """
    lines, tree = source.splitlines(), ast.parse(source)
    reading = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and _reads(node)]
    inside = {id(name) for function in reading for name in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "Any" and id(node) not in inside:
            above, line = (["", *lines])[node.lineno - 1 : node.lineno + 1]
            if "  # " not in line and not above.strip().startswith("#"):
                yield node.lineno


def _reads(function: ast.FunctionDef) -> bool:
    return any(ast.unparse(node.func) in READERS for node in ast.walk(function) if isinstance(node, ast.Call))


@pytest.mark.parametrize("module", OURS)
def test_any_is_explained(module: str) -> None:
    lines = list(unexplained((ROOT / module).read_text()))
    assert not lines, f"{module}: what type is it in {lines}, or why is that not known?"


def test_it_tells_what_is_left_of_what_is_explained() -> None:
    assert list(unexplained("def write(values: Any) -> None: ...\n")) == [1]
    assert not list(unexplained("values: Any = engine.stats  # vLLM's own\n"))
    assert not list(unexplained("def read(text: str) -> Any:\n    return json.loads(text)\n"))
