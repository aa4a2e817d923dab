"""What the committed traces say of edges: each is held against the shapes in which its functions run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from notes.traces import shapetrace
from notes.walkthrough.edges import Edge, Evidence
from notes.walkthrough.implementations import runs
from notes.walkthrough.tracededges import Trace
from tracing.shapes.shape import shape_named


@dataclass(frozen=True)
class Sighting:
    """An edge that was seen, whichever claim says it: the roles of its caller, and the shapes."""

    edge: Edge
    roles: set[str] = field(default_factory=set)
    shapes: set[str] = field(default_factory=set)


def evidence(edges: Iterable[Edge], folder: Path = shapetrace.FOLDER) -> list[Evidence]:
    """All edges, each with the shapes in which it was seen."""
    proofs = [Evidence(edge) for edge in edges]
    for name, kept in shapetrace.read_all(folder).items():
        shape, trace = shape_named(name), Trace(kept.timeline, name)
        for proof in proofs:
            if all(runs(function, shape) for function in proof.edge.functions):
                trace.hold(proof.edge, proof)
    return proofs


def sightings(proofs: Iterable[Evidence]) -> list[Sighting]:
    """The edges that were seen, each once: one function may call another in several roles, and two claims say it."""
    by_words: dict[str, Sighting] = {}
    for proof in proofs:
        if proof.standing == "seen":
            sighting = by_words.setdefault(str(proof.edge), Sighting(proof.edge))
            sighting.roles.add(proof.edge.caller.role)
            sighting.shapes.update(proof.seen_in)
    return list(by_words.values())
