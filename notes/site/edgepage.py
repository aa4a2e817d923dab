"""The page of edges: who calls whom, who sends to whom and who comes after whom, and in which recorded shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from notes.site.chapterpage import stop_links
from notes.site.deployment.drawn import DEPLOYMENTS, OTHER_SHAPES
from notes.traces.evidence import evidence
from notes.translation.labels import Labels
from notes.walkthrough import edgetable
from notes.walkthrough.chapters import Chapter, stops
from notes.walkthrough.edges import Edge, Evidence, edges
from tracing.sites.engine import SITES

TITLE = "Who calls whom"
WORDS = (
    "{count} edges, each of which was seen in at least one recorded request: by its process, its thread and its order. "
    "What is called runs inside its caller, what is sent to begins later on another thread, what comes then begins "
    "after it on the same one. A name leads to its stop; the last column has the shapes of "
    "`python -m tracing.demo --shape`."
)
HEAD = "| who | how | whom | role | seen with |"
PLACES = {site.name: place for place, site in enumerate(SITES)}
KINDS = {"calls": "calls", "sends to": "sends to", "then": "then"}


def page(chapters: Sequence[Chapter], say: Labels) -> str:
    """The page's Markdown."""
    links = stop_links(chapters)
    seen = _seen(tuple(edge for stop in stops(chapters) for edge in edges(stop)))
    rows = [_row(proof, links, say) for proof in seen]
    return "\n".join([say(f"# {TITLE}"), "", say(WORDS, count=len(rows)), "", say(HEAD), "| --- " * 5 + "|", *rows, ""])


@cache
def _seen(claimed: tuple[Edge, ...]) -> list[Evidence]:
    """The edges of stops and of the table that the committed traces have seen, each once."""
    proofs = evidence((*claimed, *(row.edge for row in edgetable.read())))
    once = {str(proof.edge): proof for proof in proofs if proof.standing == "seen"}
    return sorted(once.values(), key=_place)


def _place(proof: Evidence) -> tuple[int, ...]:
    """Where an edge stands in the order in which a request meets its ends."""
    return tuple(PLACES[site.name] for site in proof.edge.ends or ())


def _row(proof: Evidence, links: Mapping[str, str], say: Labels) -> str:
    edge = proof.edge
    shapes = ", ".join(shape for shape in (*DEPLOYMENTS, *OTHER_SHAPES) if shape in proof.seen_in)
    cells = (_code(edge.caller.target, links), say(KINDS[edge.kind]), _code(edge.target, links), say(edge.caller.role))
    return f"| {' | '.join((*cells, shapes))} |"


def _code(target: str, links: Mapping[str, str]) -> str:
    """A function by its class and name, with a link to its stop."""
    words = f"`{target.rpartition(':')[2]}`"
    return f"[{words}]({links[target].replace('.html#', '.md#')})" if target in links else words
