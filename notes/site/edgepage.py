"""The page of edges: who calls whom, who sends to whom and who comes after whom, and in which recorded shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from notes.site.chapterpage import stop_links
from notes.site.deployment.drawn import DEPLOYMENTS, OTHER_SHAPES
from notes.traces.evidence import Sighting, evidence, sightings
from notes.translation.labels import Labels
from notes.walkthrough import edgetable
from notes.walkthrough.chapters import Chapter, stops
from notes.walkthrough.edges import Edge
from tracing.sites.engine import SITES
from tracing.sites.site import ROLES

TITLE = "Who calls whom"
WORDS = (
    "{count} edges, each of which was seen in at least one recorded request: by its process, its thread and its order. "
    "What is called runs inside its caller, what is sent to begins later on another thread, what comes then begins "
    "after it on the same one. A name leads to its stop; the last column has the shapes of "
    "`python -m tracing.demo --shape`."
)
HEAD = "| who | how | whom | role | seen with |"
PLACES = {site.name: place for place, site in enumerate(SITES)}


def page(chapters: Sequence[Chapter], say: Labels) -> str:
    """The page's Markdown."""
    links = stop_links(chapters, "md")
    rows = [_row(sighting, links, say) for sighting in _sightings(edgetable.claims(stops(chapters)))]
    return "\n".join([say(f"# {TITLE}"), "", say(WORDS, count=len(rows)), "", say(HEAD), "| --- " * 5 + "|", *rows, ""])


@cache
def _sightings(claims: tuple[Edge, ...]) -> list[Sighting]:
    """The edges of stops and of the table that the committed traces have seen."""
    return sorted(sightings(evidence(claims)), key=_place)


def _place(sighting: Sighting) -> tuple[int, ...]:
    """Where an edge stands in the order in which a request meets its ends."""
    return tuple(PLACES[site.name] for site in sighting.edge.ends or ())


def _row(sighting: Sighting, links: Mapping[str, str], say: Labels) -> str:
    edge = sighting.edge
    roles = ", ".join(say(role) for role in ROLES if role in sighting.roles)
    shapes = ", ".join(shape for shape in (*DEPLOYMENTS, *OTHER_SHAPES) if shape in sighting.shapes)
    cells = (_code(edge.caller.target, links), say(edge.kind), _code(edge.target, links), roles, shapes)
    return f"| {' | '.join(cells)} |"


def _code(target: str, links: Mapping[str, str]) -> str:
    """A function by its class and name, with a link to its stop."""
    words = f"`{target.rpartition(':')[2]}`"
    return f"[{words}]({links[target]})" if target in links else words
