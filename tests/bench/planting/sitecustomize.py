"""In every Python process that has this folder in its PYTHONPATH: the source of some functions of vLLM has a delay as
its first statement, each of which is made while a byte of a file asks for it.

PLANTED in the environment is the file and the length, then the functions: `FILE milliseconds module:Class.method …`.
The byte is 0 for no delay, and n for that of the n-th function. A delay is Python's work: a loop that looks at the
clock and holds the GIL as any other code does.
"""

from __future__ import annotations

import ast
import importlib.machinery
import mmap
import os
import sys
from collections.abc import Mapping, Sequence
from types import CodeType, ModuleType
from typing import Any

VARIABLE = "PLANTED"
STATEMENTS = """
import sitecustomize as _planting
if _planting.switch[0] == {number}:
    import time as _time
    _until = _time.perf_counter_ns() + {length_ns}
    while _time.perf_counter_ns() < _until:
        pass
"""


def planted(source: bytes, numbers: Mapping[str, int], length_ns: int) -> ast.Module:
    """The source with a delay in each function with a number, behind its docstring; KeyError where one is not there."""
    tree = ast.parse(source)
    for qualname, number in numbers.items():
        body: list[ast.stmt] = tree.body
        for name in qualname.split("."):
            named = {node.name: node for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
            function = named[name]
            body = function.body
        first = 1 if ast.get_docstring(function) is not None else 0
        body[first:first] = ast.parse(STATEMENTS.format(number=number, length_ns=length_ns)).body
    return ast.fix_missing_locations(tree)


class PlantingLoader(importlib.machinery.SourceFileLoader):
    """Compiles a module with the delays in it, whatever is cached."""

    numbers: Mapping[str, int] = {}
    length_ns = 0

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = compile(planted(self.get_data(path), self.numbers, self.length_ns), path, "exec")
        return code


class PlantingFinder:
    """Finds the modules that get a delay: the numbers of their functions by module."""

    def __init__(self, numbers: Mapping[str, Mapping[str, int]], length_ns: int) -> None:
        self.numbers, self.length_ns = numbers, length_ns

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        if name not in self.numbers:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        assert spec is not None and spec.origin is not None
        loader = PlantingLoader(name, spec.origin)
        loader.numbers, loader.length_ns = self.numbers[name], self.length_ns
        spec.loader = loader
        return spec


def by_module(functions: Sequence[str]) -> dict[str, dict[str, int]]:
    """The number of each function, `module:Class.method`, by its module."""
    numbers: dict[str, dict[str, int]] = {}
    for number, function in enumerate(functions, 1):
        module, _, qualname = function.partition(":")
        numbers.setdefault(module, {})[qualname] = number
    return numbers


if VARIABLE in os.environ:
    path, length_ms, *functions = os.environ[VARIABLE].split()
    with open(path, "rb") as file:
        switch = mmap.mmap(file.fileno(), 1, access=mmap.ACCESS_READ)
    sys.meta_path.insert(0, PlantingFinder(by_module(functions), round(float(length_ms) * 1e6)))
