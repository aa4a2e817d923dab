"""Edges: what a place calls, sends to or comes before, held against the source; `tracededges` holds them against
traces. Stops claim some, the table of `edgetable` the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from notes.walkthrough.anchors import Anchor
from notes.walkthrough.chapters import Stop
from notes.walkthrough.fragment import Fragment
from probes.errors import EnginescopeError
from tracing.sites.engine import SITES
from tracing.sites.site import Site
from tracing.source.definitions import Place
from tracing.source.tree import SourceTree

Kind = Literal["calls", "sends to", "then"]
KINDS: tuple[Kind, ...] = get_args(Kind)
EdgeStanding = Literal["seen", "contradicted", "not passed", "not measured"]


@dataclass(frozen=True)
class Caller:
    """The near end of an edge: a function, who runs it, the site that measures it, and where the notes say so."""

    target: str
    role: str = ""
    thread: str = ""
    site: str = ""
    where: str = ""


@dataclass(frozen=True)
class Edge:
    """One claim: that a place calls, sends to or comes before `target`.

    `fragment` is the line of a stop that does it. Else `through` are the functions on the way, all of which run too.
    """

    caller: Caller
    kind: Kind
    target: str
    fragment: Fragment | None = None
    through: tuple[str, ...] = ()

    @property
    def ends(self) -> tuple[Site, Site] | None:
        """The two sites that see it in a trace; None where one end has none.

        A caller's site may be the one around its function. The same function can be a site on both sides of a socket:
        what is sent is received in another process.
        """
        left = next((site for site in SITES if site.name == self.caller.site), None)
        right = [site for site in SITES if self.target in site.targets and site.kind != "model"]
        if self.kind == "sends to":
            right.sort(key=lambda site: _process(site.role) == _process(self.caller.role))
        return (left, right[0]) if left and right and left is not right[0] else None

    @property
    def functions(self) -> tuple[str, ...]:
        """All that take part."""
        return (self.caller.target, *self.through, self.target)

    def __str__(self) -> str:
        return f"{self.caller.target} {self.kind} {self.target}"


@dataclass
class Evidence:
    """What traces say of an edge: in which it was seen, in how many flows, and what speaks against it.

    A function has other callers: a flow that passed both ends, the one not inside the other, or on the sender's own
    thread, is `apart`, and counts against an edge only where no flow has it. A wrong role, thread or order always does.
    """

    edge: Edge
    flows: int = 0
    seen_in: list[str] = field(default_factory=list)
    against: list[str] = field(default_factory=list)
    apart: list[str] = field(default_factory=list)
    sites: set[str] = field(default_factory=set)  # of the two ends, those that were passed at all

    @property
    def standing(self) -> EdgeStanding:
        if self.edge.ends is None:
            return "not measured"
        if self.against:
            return "contradicted"
        return "seen" if self.flows else "contradicted" if self.apart else "not passed"


def edges(stop: Stop) -> tuple[Edge, ...]:
    """The claims of a stop."""
    caller = Caller(stop.anchor.target, stop.role, stop.thread, stop.site, f"{stop.where}  {stop.name}")
    claimed: tuple[tuple[Kind, str], ...] = (("calls", stop.calls), ("sends to", stop.sends_to))
    return tuple(Edge(caller, kind, target, stop.anchor.fragment) for kind, target in claimed if target)


def in_source(edge: Edge, tree: SourceTree) -> str:
    """Why the source does not confirm an edge, or nothing: the far end must be there, a call in the fragment."""
    try:
        place = tree.resolve(edge.target)
    except EnginescopeError as error:
        return f"{edge.kind} what cannot be looked up: {error}"
    if not isinstance(place, Place) and not _moved(edge.target, place.nearest):
        return f"{edge.kind} what is not there: {place}"
    if edge.kind == "calls" and edge.fragment is not None:
        far = Anchor(edge.target, edge.fragment)
        if not far.fragment.names(far.name):
            return f"the fragment does not name {far.name}, which it claims to call"
    return ""


def _moved(target: str, nearest: tuple[str, ...]) -> bool:
    """Whether what is missing is in another module, under its own name."""
    return any(near.partition(":")[2] == target.partition(":")[2] for near in nearest if ":" in near)


def _process(role: str) -> str:
    """The process that a role is in: the core has three threads with a role."""
    return role.partition(" ")[0]
