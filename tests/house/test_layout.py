"""The floors hold: an import only goes down, and vLLM is met in its adapters alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BELOW = {
    "probes": set(),
    "tracing": {"probes"},
    "offline": {"probes", "tracing"},
    "notes": {"probes", "tracing"},
}
HEAVY = {"vllm", "torch", "transformers"}
ADAPTERS = {
    "probes/checkpoint.py",
    "tracing/plugin.py",
    "tracing/hooks/steplog.py",
    "tracing/demo.py",
    "tracing/overhead/trialengine.py",
    "offline/engine/adapter.py",
}
MODULES = sorted(str(path.relative_to(ROOT)) for room in BELOW for path in (ROOT / room).rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    """The first name of every module that `tree` imports from outside its own folder, inside functions too.

    | statement                           | yields   |
    | ----------------------------------- | -------- |
    | `import vllm.config`                | `vllm`   |
    | `from probes import machine`        | `probes` |
    | `from . import plugin`              | nothing  |
    | `importlib.import_module("vllm.x")` | `vllm`   |
    """
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (name.name.partition(".")[0] for name in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0]
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                yield module.partition(".")[0]


def test_sees_every_way_to_import() -> None:
    source = """
import vllm.config, json
from probes import machine
from . import plugin
def late():
    from torch.nn import Module
    importlib.import_module("transformers.models")
    __import__("notes")
"""
    assert set(imported(ast.parse(source))) == {"vllm", "json", "probes", "torch", "transformers", "notes"}


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module: str) -> None:
    names = set(imported(ast.parse((ROOT / module).read_text())))
    room = module.partition("/")[0]
    assert names & {*BELOW, "tests"} <= BELOW[room] | {room}
    assert module in ADAPTERS or not names & HEAVY


@pytest.mark.parametrize("module", MODULES)
def test_imports_stay_inside_the_room_when_relative(module: str) -> None:
    depth = module.count("/")
    nodes = ast.walk(ast.parse((ROOT / module).read_text()))
    assert all(node.level <= depth for node in nodes if isinstance(node, ast.ImportFrom))
