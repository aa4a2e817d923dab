"""What the committed traces say of edges: each is held against the shapes in which its functions run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from notes.traces import shapetrace
from notes.walkthrough.edges import Edge, Evidence
from notes.walkthrough.implementations import runs
from notes.walkthrough.tracededges import Trace
from tracing.shapes.shape import SHAPES


def evidence(edges: Iterable[Edge], folder: Path = shapetrace.FOLDER) -> list[Evidence]:
    """All edges, each with the shapes in which it was seen."""
    proofs = [Evidence(edge) for edge in edges]
    for name in shapetrace.shapes(folder):
        trace = Trace(shapetrace.read(name, folder).timeline, name)
        for proof in proofs:
            if all(runs(function, SHAPES[name]) for function in proof.edge.functions):
                trace.hold(proof.edge, proof)
    return proofs


def distinct(proofs: Iterable[Evidence]) -> dict[str, set[str]]:
    """The edges that were seen, in words, each once, with the shapes in which it was seen."""
    seen: dict[str, set[str]] = {}
    for proof in proofs:
        if proof.standing == "seen":
            seen.setdefault(str(proof.edge), set()).update(proof.seen_in)
    return seen
