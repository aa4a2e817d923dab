"""Whether the packages still say what the table of causes says they do: each line against the strings of its source.

A string of a source is cut into the parts that stand fixed in it; a line is said by it where it is those parts in
order, with anything in between. Lines of the table may end early.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import distributions
from pathlib import Path
from typing import Protocol

from packaging.specifiers import SpecifierSet

PLACES = re.compile(r"%(?:\.\d+)?[sdfrx]|\{[^{}]*\}")  # of %-formatting and str.format
KIND = re.compile(r"^(?:(?:[a-z_]\w*\.)*[A-Z]\w*: |Value error, )")  # the exception's name
LEAST = 10  # fixed characters that a line has to share with a string
REPORT = re.compile(r"^[\w.-]+/[\w.-]+#\d+$")


class HasSource(Protocol):
    """What has a line and its source: a cause, or a line that is read for other reasons."""

    @property
    def line(self) -> str: ...

    @property
    def source(self) -> str: ...

    @property
    def versions(self) -> str: ...


@dataclass(frozen=True)
class SourceLine:
    """A line, and the file of a package that says it; `versions` where not all do, as `>=0.33`."""

    line: str
    source: str
    versions: str = ""


@dataclass(frozen=True)
class Rewording:
    """A line that its source does not say, the package's version, and the nearest that it does say."""

    old: HasSource
    version: str
    nearest: str


def reworded(lines: Iterable[HasSource], packages: Path) -> Iterator[Rewording]:
    """The lines that the sources below `packages` (a site-packages folder, an unpacked tree) do not say.

    Packages that are not there are left out, and lines that their version is not expected to say.
    """
    version_of, strings_in = cache(partial(_version, packages)), cache(partial(_strings, packages))
    for each in lines:
        package, words = each.source.partition("/")[0], KIND.sub("", each.line)
        if not has_source(each) or not (packages / package).is_dir():
            continue
        name, version = version_of(package)
        if not _is_expected(each, version):
            continue
        strings = strings_in(each.source)
        if not any(says(parts, words) for parts in strings):
            nearest = difflib.get_close_matches(words, ("…".join(parts) for parts in strings), 1, 0)
            yield Rewording(each, f"{name} {version}".strip(), nearest[0] if nearest else "no such file")


def moved(missing: Sequence[Rewording], packages: Path) -> dict[str, str]:
    """Of the lines that their own files do not say, those that another module of vLLM says word for word, and which.

    A module that cannot be read is none. All of them are read: seconds.
    """
    modules: dict[str, str] = {}
    left = {each.old.line: KIND.sub("", each.old.line) for each in missing if each.old.source.startswith("vllm/")}
    for path in sorted((packages / "vllm").rglob("*.py")) if left else ():
        try:
            strings = list(fixed_parts(path.read_text()))
        except (OSError, ValueError, SyntaxError):
            continue
        # Of all strings there are, one may begin like the line by chance: here most of the line has to be its own.
        for line, words in left.items():
            if line not in modules and any(says(parts, words, len(words) // 2) for parts in strings):
                modules[line] = str(path.relative_to(packages))
    return modules


def has_source(line: HasSource) -> bool:
    """Whether a line is of a file that can be looked at."""
    return line.source.endswith(".py")


def fixed_parts(source: str) -> Iterator[list[str]]:
    """The strings of a module, each as the parts between its placeholders; those of f-strings are not given again.

    | string           | parts                  |
    | ---------------- | ---------------------- |
    | `f"a {b} c"`     | `["a ", " c"]`         |
    | `"a %s c"`       | `["a ", " c"]`         |
    | `f"{a} b"`       | `["", " b"]`           |
    """
    tree = ast.parse(source)
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield _parts(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield PLACES.split(node.value)


def says(parts: list[str], words: str, least: int = LEAST) -> bool:
    """Whether `words` are the parts in order, from the first on, with anything in between; they may end early.

    So many of their characters have to be the parts'.
    """
    at, shared = 0, 0
    for number, part in enumerate(parts):
        part = part.lstrip("\n ") if number == 0 else part
        start = words.find(part, at)
        if start < 0 or (number == 0 and start):
            begun = _begins(part, words[at:], number == 0)
            return begun is not None and shared + begun >= min(least, len(words))
        at, shared = start + len(part), shared + len(part)
    return shared >= min(least, len(words))


def _begins(part: str, rest: str, at_once: bool) -> int | None:
    """How many characters of `part` the words' end holds, as its beginning; None where it holds none."""
    if not rest:
        return 0
    starts = (0,) if at_once else range(len(rest))
    return next((len(rest) - start for start in starts if part.startswith(rest[start:])), None)


def _parts(node: ast.JoinedStr) -> list[str]:
    parts = [""]
    for value in node.values:
        if isinstance(value, ast.Constant):
            first, *more = PLACES.split(str(value.value))
            parts[-1] += first
            parts += more
        else:
            parts.append("")
    return parts


def _is_expected(line: HasSource, version: str) -> bool:
    return not line.versions or not version or SpecifierSet(line.versions, prereleases=True).contains(version)


def _strings(packages: Path, source: str) -> list[list[str]]:
    path = packages / source
    return list(fixed_parts(path.read_text())) if path.is_file() else []


def _version(packages: Path, package: str) -> tuple[str, str]:
    """Name and version ('': not known) of a package, as far as the folder tells."""
    package = package.replace("_", "-")
    for each in distributions(path=[str(packages)]):
        name = each.metadata["Name"].replace("_", "-").lower()
        if name == package or name.startswith(f"{package}-"):
            return name, each.version
    return package, ""
