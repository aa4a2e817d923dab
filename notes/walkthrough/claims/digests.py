"""What was read when the notes were written: the digests of the functions that stops are about, a file a version.

A digest holds nothing of vLLM's text. A function with another digest says something else than what was read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from notes.walkthrough.chapters import Stop
from probes.errors import EnginescopeError, usage_error
from tracing.source.definitions import Place
from tracing.source.shape import digest, unnamed
from tracing.source.tree import SourceTree

FOLDER = "digests"  # in that of the chapters


@dataclass(frozen=True)
class FunctionDigest:
    """Of all that a function says, and of it without the names of its locals."""

    whole: str
    unnamed: str

    @classmethod
    def of(cls, place: Place) -> FunctionDigest:
        return cls(digest(place), unnamed(place))


@dataclass(frozen=True)
class Digests:
    """The digests of a version's functions by target."""

    version: str
    functions: dict[str, FunctionDigest]

    def is_read(self, target: str, place: Place) -> bool:
        """Whether a function says what it said."""
        return self.functions.get(target) == FunctionDigest.of(place)

    def is_renamed(self, target: str, place: Place) -> bool:
        """Whether a function only calls locals otherwise than it did."""
        known = self.functions.get(target)
        return known is not None and not self.is_read(target, place) and known.unnamed == unnamed(place)


def targets(stop: Stop) -> Iterator[str]:
    """The functions that a stop names: its own first, then those of its edges and claims."""
    references = (stop.anchor.target, stop.calls, stop.sends_to, *(claim.target for claim in stop.claims))
    yield from dict.fromkeys(target for target in references if ":" in target)


def take(stops: Iterable[Stop], tree: SourceTree) -> Digests:
    """The digests of all functions that stops name, in a tree."""
    names = sorted({target for stop in stops for target in targets(stop)})
    places = ((target, tree.resolve(target)) for target in names)
    functions = {target: at for target, at in places if isinstance(at, Place) and at.kind != "class"}
    return Digests(tree.version, {target: FunctionDigest.of(at) for target, at in functions.items()})


def read(chapters: Path, version: str) -> Digests | None:
    """Those of a version, or of the newest that was read; None where none was."""
    paths = {path.stem: path for path in sorted((chapters / FOLDER).glob("*.json"), key=lambda path: _order(path.stem))}
    if not paths:
        return None
    path = paths.get(version) or list(paths.values())[-1]
    try:
        file = json.loads(path.read_text(encoding="utf-8"))
        functions = {target: FunctionDigest(*words.split()) for target, words in file["functions"].items()}
        return Digests(str(file["vllm"]), functions)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise usage_error(f"{path} cannot be read: {error}; delete it, then python -m notes.check --reread") from None


def write(chapters: Path, digests: Digests) -> Path:
    """Keep a version's digests beside the chapters."""
    path = chapters / FOLDER / f"{digests.version}.json"
    functions = {target: f"{each.whole} {each.unnamed}" for target, each in digests.functions.items()}
    text = json.dumps({"vllm": digests.version, "functions": functions}, indent=1)
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise EnginescopeError(f"cannot write {path}: {error.strerror}") from None
    return path


def _order(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdecimal()]
