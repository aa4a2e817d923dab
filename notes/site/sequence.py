"""The flow of one request as a sequence diagram in SVG: a column a role, calls with medians, messages as arrows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from itertools import pairwise
from typing import NamedTuple

from notes.site.route import Call, Leg, Route
from notes.translation.labels import IN_ENGLISH, Labels
from notes.walkthrough.implementations import runs
from probes.console import us
from tracing.page.drawings.lanes import hue, linked
from tracing.shapes.shape import Shape
from tracing.sites.engine import SITES
from tracing.sites.site import ROLES, Site

WIDTH, MARGIN, HEAD, LINE, INDENT, GAP, PAD = 1120, 12, 30, 15, 9, 34, 5
BOX = 204
LONGEST = 27  # characters of a name that has its time beside it, two less for each indent
Links = Mapping[str, str]  # addresses by site
TITLE = "One request, through the engine's threads"
STEPS = "each of its {steps} steps; medians of {counted} of this kind"
A_REQUEST = "{site} ({stage}), in the {role}: {time} a request at the median"
A_STEP = "{site} ({stage}), in the {role}: {time} a step at the median"

STYLE = """
svg.sequence { width: 100%; min-width: 860px; font: 10px system-ui, sans-serif; }
svg.sequence text { fill: var(--ink); } svg.sequence .faint, svg.sequence .ns { fill: var(--faint); }
svg.sequence .ns { font-variant-numeric: tabular-nums; }
svg.sequence .head { font-size: 12px; font-weight: 600; }
svg.sequence line, svg.sequence path, svg.sequence .loop { stroke: var(--faint); fill: none; }
svg.sequence .life { stroke: var(--line); stroke-dasharray: 3 3; }
svg.sequence .loop { stroke-width: 1; rx: 4px; }
svg.sequence .leg { fill: var(--paper); stroke: var(--line); rx: 3px; }
svg.sequence .stage { fill: hsl(var(--hue) var(--bright)); }
svg.sequence .tip { fill: var(--faint); stroke: none; }
svg.sequence a text:first-of-type { text-decoration: underline dotted; }
svg.sequence a:hover text { fill: var(--link); }
"""


class Message(NamedTuple):
    """What lies between two roles: its medium, the hop or wait that measures it, the sites that are about it."""

    medium: str
    measured: str
    sites: tuple[str, ...]


MESSAGES = {
    ("front end", "core input"): Message("ZMQ", "front end → core", ("client.send_async", "client.send")),
    ("core input", "core"): Message("input queue", "wait: input queue", ("core.dequeue",)),
    ("core", "core"): Message("in the scheduler's queue", "wait: scheduler queue", ("scheduler.schedule",)),
    ("core", "worker"): Message("shared memory", "core → worker", ("queue.put", "executor.dispatch")),
    ("worker", "core"): Message("shared memory", "worker → core", ("worker.reply", "executor.wait")),
    ("core", "core output"): Message("output queue", "wait: output queue", ("core.encode",)),
    ("core output", "front end"): Message("ZMQ", "core → front end", ("core.send", "client.receive")),
}
BY_NAME = {site.name: site for site in SITES}


def drawing(route: Route, links: Links, say: Labels = IN_ENGLISH, shape: Shape | None = None) -> str:
    """The diagram of a route; what has an address in `links` leads there. In a `shape` the functions are those that
    run in it."""
    roles = [role for role in ROLES if any(leg.role == role for leg in route.legs)]
    column = (WIDTH - 2 * MARGIN) / len(roles)
    middle: dict[str, float] = {role: MARGIN + column * (place + 0.5) for place, role in enumerate(roles)}
    parts: list[str] = []
    top, loop = HEAD + PAD, 0.0
    for before, leg in pairwise((None, *route.legs)):
        assert leg is not None
        if before is not None:
            if leg.part != before.part:
                loop = top + GAP - 4
                top += 24
            parts.append(_message(before, leg, top + GAP - 8, middle, route, links, say))
            top += GAP
        parts += _leg(leg, top, middle[leg.role], links, say, shape)
        top += _height(leg)
    heads = [_head(say(role), middle[role], top) for role in roles]
    frame = _loop(route, loop, top, say) if loop else ""
    return (
        f'<svg viewBox="0 0 {WIDTH} {top + 2 * PAD}" role="img" class="sequence" xmlns="http://www.w3.org/2000/svg">'
        f"<title>{escape(say(TITLE))}</title>{''.join(heads)}{frame}{''.join(parts)}</svg>"
    )


def _height(leg: Leg) -> int:
    return LINE * len(leg.calls) + 2 * PAD


def _head(role: str, middle: float, bottom: float) -> str:
    return (
        f'<line class="life" x1="{middle:.0f}" x2="{middle:.0f}" y1="{HEAD}" y2="{bottom + PAD}"/>'
        f'<text class="head" x="{middle:.0f}" y="20" text-anchor="middle">{escape(role)}</text>'
    )


def _loop(route: Route, top: float, bottom: float, say: Labels) -> str:
    words = escape(say(STEPS, steps=route.steps, counted=route.steps_counted))
    return (
        f'<rect class="loop" x="2" y="{top:.0f}" width="{WIDTH - 4}" height="{bottom - top + PAD:.0f}"/>'
        f'<text class="faint" x="10" y="{top + 15:.0f}">{words}</text>'
    )


def _leg(leg: Leg, top: float, middle: float, links: Links, say: Labels, shape: Shape | None) -> Iterator[str]:
    left = middle - BOX / 2
    yield f'<rect class="leg" x="{left:.0f}" y="{top:.0f}" width="{BOX}" height="{_height(leg)}"/>'
    for place, call in enumerate(leg.calls):
        yield _call(call, leg, left, top + PAD + LINE * place, links, say, shape)


def _call(call: Call, leg: Leg, left: float, top: float, links: Links, say: Labels, shape: Shape | None) -> str:
    site, time = BY_NAME[call.site], us(call.median_ns)
    words = A_REQUEST if leg.part == "way in" else A_STEP
    tooltip = say(words, site=site.name, stage=site.stage, role=say(leg.role), time=time)
    indent, line = left + 8 + INDENT * call.depth, top + 11
    name = function(site, shape)
    room = LONGEST - 2 * call.depth
    name = name if len(name) <= room else f"{name[: room - 1]}…"
    group = (
        f'<g style="--hue:{hue(site.stage)}"><title>{escape(tooltip)}</title>'
        f'<rect class="stage" x="{left:.0f}" y="{top + 1:.0f}" width="3" height="{LINE - 2}"/>'
        f'<text x="{indent:.0f}" y="{line:.0f}">{escape(name)}</text>'
        f'<text class="ns" x="{left + BOX - 5:.0f}" y="{line:.0f}" text-anchor="end">{time}</text></g>'
    )
    return linked(group, links.get(site.name))


def function(site: Site, shape: Shape | None = None) -> str:
    """The function of vLLM that a site hooks, by its last name; the site's own where it is what another one makes."""
    if site.kind == "model":
        return site.name
    there = [target for target in site.targets if shape is None or runs(target, shape)]
    return (there or site.targets)[0].rpartition(".")[2]


def _message(
    before: Leg, leg: Leg, y: float, middle: Mapping[str, float], route: Route, links: Links, say: Labels
) -> str:
    """The arrow from one leg to the next, with the median of its way where it was measured."""
    start, end = middle[before.role], middle[leg.role]
    message = MESSAGES.get((before.role, leg.role))
    ns = route.between_ns.get(message.measured) if message else None
    words = f"{say(message.medium)}, {us(ns)}" if message and ns is not None else ""
    address = next((links[site] for site in message.sites if site in links), None) if message else None
    if start == end:
        return linked(
            f'<g class="message"><text class="faint" x="{start + 8:.0f}" y="{y:.0f}">{words}</text></g>', address
        )
    tip = 7 if end < start else -7
    group = (
        f'<g class="message"><line x1="{start:.0f}" x2="{end:.0f}" y1="{y:.0f}" y2="{y:.0f}"/>'
        f'<path class="tip" d="M{end:.0f} {y:.0f} l{tip} -4 v8 z"/>'
        f'<text x="{(start + end) / 2:.0f}" y="{y - 4:.0f}" text-anchor="middle">{escape(words)}</text></g>'
    )
    return linked(group, address)
