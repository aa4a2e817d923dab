"""Puts a wrapper in the place of a function of vLLM's, in the process that asks.

A module that is not imported yet is not imported for it: its functions are patched the moment it is.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]
Report = Callable[[bool], None]

MARK = "__enginescope__"  # on a wrapper: the names of the watchers that it and what it wraps belong to

_later: dict[str, list[Callable[[], None]]] = {}  # module name -> what to do once it is imported


def patch(target: str, watcher: str, wrap: Wrap, report: Report) -> None:
    """Patch `module:Class.method` or `module:function` now, or when its module is imported.

    `report` gets whether the function is there.
    """
    module = target.partition(":")[0]

    def now() -> None:
        report(_patch(target, watcher, wrap))

    if module in sys.modules:
        now()
    else:
        if _Finder not in (type(finder) for finder in sys.meta_path):
            sys.meta_path.insert(0, _Finder())
        _later.setdefault(module, []).append(now)


def _patch(target: str, watcher: str, wrap: Wrap) -> bool:
    module_name, _, path = target.partition(":")
    owner_name, _, name = path.rpartition(".")
    module = sys.modules[module_name]
    owner = getattr(module, owner_name, None) if owner_name else module
    attribute = vars(owner).get(name) if owner is not None else None
    original = attribute.__func__ if isinstance(attribute, staticmethod) else attribute
    if not callable(original):
        return False
    if watcher in getattr(original, MARK, ()):
        return True
    wrapper = wrap(original)
    functools.update_wrapper(wrapper, original)
    setattr(wrapper, MARK, (*getattr(original, MARK, ()), watcher))
    setattr(owner, name, staticmethod(wrapper) if isinstance(attribute, staticmethod) else wrapper)
    if owner is module:
        _replace_copies(name, original, wrapper)
    return True


def _replace_copies(name: str, original: Any, wrapper: Any) -> None:
    """A function that other modules imported by name before the hooks came is replaced there as well."""
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType) and vars(module).get(name) is original:
            setattr(module, name, wrapper)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds nothing itself: it lets the others find a module that is waited for, and patches it after its body ran."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        waiting = _later.pop(fullname, None)
        if waiting is None:
            return None
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def run_and_patch(module: ModuleType) -> None:
                run(module)
                for step in waiting:
                    step()

            spec.loader.exec_module = run_and_patch  # type: ignore[method-assign]
        return spec
