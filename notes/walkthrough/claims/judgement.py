"""What a tree of vLLM says of a stop: of its anchor, of its claims, and of what was read for it."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from typing import Literal

from notes.walkthrough import anchors
from notes.walkthrough.chapters import Stop
from notes.walkthrough.claims import holding
from notes.walkthrough.claims.digests import Digests, targets
from notes.walkthrough.edges import edges, in_source
from tracing.source.definitions import Place
from tracing.source.tree import SourceTree

Standing = Literal["holds", "moved", "re-read", "false", "gone"]
ORDER: tuple[Standing, ...] = ("gone", "false", "re-read", "moved", "holds")
ABOUT_THE_TREE = "only callers"  # the claim that other functions can make false
TO_FIX: tuple[Standing, ...] = ("false", "gone")


@dataclass(frozen=True)
class Judgement:
    """A stop in a tree.

    | standing | what it means                                                                        |
    | -------- | ------------------------------------------------------------------------------------ |
    | holds    | the line is there, all claims are true, and the functions say what they said         |
    | moved    | the same, in another class or module                                                 |
    | re-read  | the claims are true, but a function that the stop names says something else: read it |
    | false    | the line is there, and a claim is not true any more                                  |
    | gone     | the line or its function is not there                                                |

    `untrue` are the claims and edges that are not borne out, with the reason; `reread` the targets that say something
    else than what was read, or were not read yet.
    """

    stop: Stop
    anchor: anchors.Verdict
    untrue: tuple[str, ...] = ()
    reread: tuple[str, ...] = ()

    @property
    def standing(self) -> Standing:
        if self.anchor.standing == "gone":
            return "gone"
        if self.untrue:
            return "false"
        return "re-read" if self.reread else self.anchor.standing


def judge(stop: Stop, tree: SourceTree, digests: Digests | None = None, base: SourceTree | None = None) -> Judgement:
    """Hold a stop against a tree; `digests` are of what was read, and `base` is an older tree for what has moved.

    What is true of a function stays true where only its locals are called otherwise.
    """
    verdict = anchors.judge(stop.anchor, tree, base)
    renamed = set(_renamed(stop, tree, digests)) if digests else set()
    if verdict.place is not None and stop.anchor.target in renamed:
        verdict = replace(verdict, standing="holds", reason="", nearest=())
    if verdict.place is None or verdict.standing == "gone":
        return Judgement(stop, verdict, tuple(_edges(stop, tree)))
    untrue = (*_claims(stop, tree, verdict.place, renamed), *_edges(stop, tree))
    return Judgement(stop, verdict, untrue, tuple(_reread(stop, tree, verdict.place, digests)) if digests else ())


def _renamed(stop: Stop, tree: SourceTree, digests: Digests) -> Iterator[str]:
    """The functions of a stop that only call locals otherwise than when they were read."""
    for target in targets(stop):
        there = tree.find_place(target)
        if there is not None and digests.is_renamed(target, there):
            yield target


def _claims(stop: Stop, tree: SourceTree, place: Place, renamed: Set[str]) -> Iterator[str]:
    """Why the claims are not true; those about `renamed` functions are as true as they were."""
    if stop.anchor.target in renamed:
        here = holding.whole_definition(tree, place)
    else:
        here = holding.Occurrence.of(tree, place, stop.anchor.fragment)
    if reason := holding.never_runs(here):
        yield reason
    for claim in stop.claims:
        if claim.verb != ABOUT_THE_TREE and (claim.target or stop.anchor.target) in renamed:
            continue
        if reason := holding.unfounded(claim, here):
            yield f"{claim}: {reason}"


def _edges(stop: Stop, tree: SourceTree) -> Iterator[str]:
    yield from (problem for edge in edges(stop) if (problem := in_source(edge, tree)))


def _reread(stop: Stop, tree: SourceTree, place: Place, digests: Digests) -> Iterator[str]:
    """The functions of a stop that say something else; one that has moved is looked at where it is."""
    for target in targets(stop):
        there = place if target == stop.anchor.target else tree.find_place(target)
        if there is not None and there.kind != "class" and not digests.is_read(target, there):
            yield target
