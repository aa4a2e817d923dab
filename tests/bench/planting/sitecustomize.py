"""In every Python process that has this folder in its PYTHONPATH: the source of one function of vLLM has a delay as its
first statement, as PLANTED in the environment says: `module:Class.method milliseconds`.

The delay is Python's work: a loop that looks at the clock and holds the GIL as any other code does.
"""

from __future__ import annotations

import ast
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType
from typing import Any

VARIABLE = "PLANTED"
STATEMENTS = """
import time as _time
_until = _time.perf_counter_ns() + {length_ns}
while _time.perf_counter_ns() < _until:
    pass
"""


def planted(source: bytes, qualname: str, length_ns: int) -> ast.Module:
    """The source with the delay in one function, behind its docstring; KeyError where there is none of that name."""
    tree = ast.parse(source)
    body: list[ast.stmt] = tree.body
    for name in qualname.split("."):
        named = {node.name: node for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
        function = named[name]
        body = function.body
    first = 1 if ast.get_docstring(function) is not None else 0
    body[first:first] = ast.parse(STATEMENTS.format(length_ns=length_ns)).body
    return ast.fix_missing_locations(tree)


class PlantingLoader(importlib.machinery.SourceFileLoader):
    """Compiles a module with the delay in it, whatever is cached."""

    qualname, length_ns = "", 0

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = compile(planted(self.get_data(path), self.qualname, self.length_ns), path, "exec")
        return code


class PlantingFinder:
    """Finds the one module that gets a delay."""

    def __init__(self, module: str, qualname: str, length_ns: int) -> None:
        self.module, self.qualname, self.length_ns = module, qualname, length_ns

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        if name != self.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        assert spec is not None and spec.origin is not None
        loader = PlantingLoader(name, spec.origin)
        loader.qualname, loader.length_ns = self.qualname, self.length_ns
        spec.loader = loader
        return spec


if VARIABLE in os.environ:
    function, length_ms = os.environ[VARIABLE].split()
    module, _, qualname = function.partition(":")
    sys.meta_path.insert(0, PlantingFinder(module, qualname, round(float(length_ms) * 1e6)))
