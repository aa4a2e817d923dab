"""A flame graph of py-spy's samples: a lane a role, in it the stages, and below each the functions seen in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from probes.console import us
from tracing.page.drawings import lanes
from tracing.page.drawings.lanes import Bar, Lane
from tracing.pyspy.stacks import StackTime
from tracing.sites.site import place_of

DEPTH = 30  # functions below a stage
LEAST = 1 / 8000  # of the widest lane, from which a box is drawn: the eighth of a pixel
ABOUT = (
    "Py-spy's samples while the engine served, by role and stage; width is time, a box lies below the one that called "
    "it, and pale boxes waited for more than half of theirs."
)


def sections(stacks: Sequence[StackTime]) -> list[tuple[str, str, str]]:
    """The section of the page, where there are samples in a stage."""
    if not stacks:
        return []
    return [("What the Python does, as a flame graph", f"{ABOUT} {lanes.HELP}", flame_graph(stacks))]


def flame_graph(stacks: Sequence[StackTime]) -> str:
    """The graph as SVG in a box that can be zoomed."""
    by_role = {role: [stack for stack in stacks if stack.role == role] for role in {stack.role for stack in stacks}}
    widest = max(map(_ns, by_role.values()))
    drawn = []
    for role in sorted(by_role, key=place_of):
        boxes = _boxes(by_role[role], 0, 0, int(widest * LEAST), _ns(by_role[role]))
        drawn.append(Lane(role, list(boxes)))
    return lanes.zoomable(lanes.picture(drawn, 0, widest, 0))


def _ns(stacks: Sequence[StackTime]) -> int:
    return sum(stack.ns for stack in stacks)


def _boxes(stacks: Sequence[StackTime], level: int, start: int, least: int, whole: int) -> Iterator[tuple[Bar, int]]:
    """The boxes of one level from a start on, the widest first, each with those below it."""
    if level > DEPTH:
        return
    deep = sorted((stack for stack in stacks if len(stack.functions) >= level), key=lambda stack: _name(stack, level))
    groups = [list(members) for _, members in groupby(deep, key=lambda stack: _name(stack, level))]
    for members in sorted(groups, key=_ns, reverse=True):
        if (ns := _ns(members)) <= least:
            return
        name = _name(members[0], level)
        waits = 2 * _ns([stack for stack in members if stack.is_waiting]) > ns
        tooltip = f"{name}, {us(ns)}, {ns / whole:.1%} of the {members[0].role}"
        words = name.partition(" (")[0] if level else name
        yield Bar(start, start + ns, members[0].stage, words, waits, tooltip), level
        yield from _boxes(members, level + 1, start, least, whole)
        start += ns


def _name(stack: StackTime, level: int) -> str:
    """What stands at a level: the stage, then the functions from the outermost on."""
    return stack.functions[level - 1] if level else stack.stage
