"""Anchors: what must be where in vLLM's source for a note to be true, and the verdict of a source tree on one."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from notes.walkthrough.fragment import Fragment, Lines, bases
from probes.errors import EnginescopeError
from tracing.source.definitions import UNREADABLE, Place
from tracing.source.tree import PACKAGE, SourceTree

Standing = Literal["holds", "moved", "gone"]
NEAREST = 3


@dataclass(frozen=True)
class Anchor:
    """A target, `module:Class.method`, and the line of source that must be inside it."""

    target: str
    fragment: Fragment

    @property
    def name(self) -> str:
        """The last part of the target."""
        return self.target.rpartition(":")[2].rpartition(".")[2]


@dataclass(frozen=True)
class Verdict:
    """What a tree says of an anchor.

    | standing | what it means                                                                       |
    | -------- | ----------------------------------------------------------------------------------- |
    | holds    | the function is there and has the fragment, on whatever lines                       |
    | moved    | the function is not there; one of its name, in another class or module, has the fragment |
    | gone     | the function is there and no longer has the fragment, or neither is there           |

    `target` and `place` are where it is now (`place` is None where the function is gone), `lines` the fragment's; the
    names of the function's locals may have changed. `nearest` are the functions of its module that have the fragment
    now, then the nearest present lines (`number: text`) or names.
    """

    standing: Standing
    target: str
    place: Place | None = None
    lines: tuple[Lines, ...] = ()
    reason: str = ""
    nearest: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """For people and editors: `file:line` of the fragment, or of the function where it is not in it."""
        if self.place is None:
            return ""
        return f"{self.place.file}:{self.lines[0].first if self.lines else self.place.first}"


def judge(anchor: Anchor, tree: SourceTree, base: SourceTree | None = None) -> Verdict:
    """Hold an anchor against a tree; never raises.

    A line's number says nothing, so that *moved* is told by the code itself: the function's name and the fragment,
    elsewhere. With an older tree (`base`) that is exact, since what was in that other place already has not moved
    there; without one it is told from one tree alone (see `_replaces`).
    """
    try:
        place = tree.resolve(anchor.target)
        if not isinstance(place, Place):
            return _absent(anchor, place.reason, place.nearest, tree, base)
        if lines := anchor.fragment.find(place) or anchor.fragment.find_renamed(place):
            return Verdict("holds", anchor.target, place, lines)
        present = (*_now_in(anchor, tree), *_present(anchor, place))
    except EnginescopeError as error:  # no target at all, or one that a link leads out of the tree
        return Verdict("gone", anchor.target, reason=str(error))
    except UNREADABLE as error:
        return Verdict("gone", anchor.target, reason=f"cannot be read ({type(error).__name__})")
    return Verdict("gone", anchor.target, place, (), "the fragment is not there", present[:NEAREST])


def _absent(
    anchor: Anchor, reason: str, nearest: tuple[str, ...], tree: SourceTree, base: SourceTree | None
) -> Verdict:
    for target, place, lines in _elsewhere(anchor, tree):
        if _replaces(target, anchor, tree) if base is None else not _had(base, target, anchor.fragment):
            return Verdict("moved", target, place, lines, reason)
    module = anchor.target.partition(":")[0]
    near = dict.fromkeys([*_now_in(anchor, tree), *(_full(name, module) for name in nearest)])
    return Verdict("gone", anchor.target, reason=reason, nearest=tuple(near)[:NEAREST])


def _now_in(anchor: Anchor, tree: SourceTree) -> Iterator[str]:
    """The functions of the same module that have the fragment: what the place was renamed or split to is among them."""
    module = anchor.target.partition(":")[0]
    for name, place in tree.definitions(module).items():
        if place.kind != "class" and anchor.fragment.find(place):
            yield f"{module}:{name}"


def _full(name: str, module: str) -> str:
    return name if ":" in name or name.startswith(f"{PACKAGE}.") else f"{module}:{name}"


def _elsewhere(anchor: Anchor, tree: SourceTree) -> Iterator[tuple[str, Place, tuple[Lines, ...]]]:
    """Where else in the tree a function of that name has the fragment, the most alike targets first."""
    defined = dict(tree.defining(anchor.name, anchor.fragment.word))
    for target in difflib.get_close_matches(anchor.target, defined, len(defined) or 1, cutoff=0):
        if lines := anchor.fragment.find(defined[target]):
            yield target, defined[target], lines


def _replaces(target: str, anchor: Anchor, tree: SourceTree) -> bool:
    """Whether like code in another place can be what was in this one, as far as one tree tells.

    Classes beside each other often share a line. While the old class is there, only one that it inherits from can have
    taken its function over; where that class is gone, any may have.
    """
    module, _, qualname = anchor.target.partition(":")
    owner = tree.definitions(module).get(qualname.rpartition(".")[0])
    return owner is None or target.rpartition(".")[0].rpartition(":")[2].rpartition(".")[2] in bases(owner)


def _had(base: SourceTree, target: str, fragment: Fragment) -> bool:
    place = base.resolve(target)
    return isinstance(place, Place) and bool(fragment.find(place))


def _present(anchor: Anchor, place: Place) -> tuple[str, ...]:
    """The function's lines that look most like the fragment, in order."""
    stripped = [line.strip() for line in place.lines()]
    alike = difflib.get_close_matches(anchor.fragment.text, stripped, NEAREST, cutoff=0.5)
    return tuple(f"{place.first + n}: {line}" for n, line in enumerate(stripped) if line in alike)
