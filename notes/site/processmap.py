"""The map of the front page: processes, threads, queues and sockets of one engine, each box a link to its chapter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from notes.translation.labels import IN_ENGLISH, Labels

WIDTH, HEIGHT = 940, 330


@dataclass(frozen=True)
class Box:
    """A process (without a chapter) or a part of one; in the drawing's units."""

    name: str
    x: int
    y: int
    width: int
    height: int
    chapter: int = 0
    words: str = ""


@dataclass(frozen=True)
class Arrow:
    """What is handed over, from point to point, and what carries it; the chapter is about the way."""

    start: tuple[int, int]
    end: tuple[int, int]
    carrier: str
    chapter: int


@dataclass(frozen=True)
class Layout:
    """One map: what is drawn, and how high it is; `name` tells it from the others of a page."""

    name: str
    processes: tuple[Box, ...]
    parts: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    height: int


PROCESSES = (
    Box("front end process", 10, 20, 230, 290),
    Box("core process", 330, 20, 330, 290),
    Box("worker process", 750, 20, 180, 290),
)
PARTS = (
    Box("API server", 25, 55, 200, 60, 17, "HTTP, templates, events"),
    Box("AsyncLLM", 25, 150, 200, 70, 2, "requests in, a stream out"),
    Box("output handler", 25, 240, 200, 55, 8, "one task for all streams"),
    Box("input thread", 345, 55, 130, 60, 3, "decodes, hashes"),
    Box("scheduler", 520, 55, 125, 60, 5, "who, how many"),
    Box("busy loop", 520, 140, 125, 55, 4, "step after step"),
    Box("KV blocks", 345, 140, 130, 55, 6, "pool and prefixes"),
    Box("output thread", 345, 240, 130, 55, 8, "encodes, sends"),
    Box("model runner", 765, 55, 150, 60, 7, "inputs, forward"),
    Box("sampler", 765, 150, 150, 60, 13, "logits to a token"),
)
ARROWS = (
    Arrow((225, 165), (345, 85), "ZMQ", 3),
    Arrow((475, 95), (520, 155), "queue", 4),
    Arrow((645, 150), (765, 85), "shared memory", 7),
    Arrow((765, 190), (645, 180), "shared memory", 8),
    Arrow((560, 195), (475, 265), "queue", 8),
    Arrow((345, 268), (225, 268), "ZMQ", 8),
)
STYLE = """
svg.processes { width: 100%; min-width: 640px; font: 13px system-ui, sans-serif; }
svg.processes text { fill: var(--ink); text-anchor: middle; }
svg.processes .process { fill: none; stroke: var(--faint); stroke-dasharray: 5 4; }
svg.processes .process-name, svg.processes .words { font-size: 11px; fill: var(--faint); }
svg.processes .part { fill: var(--md-code-bg-color); stroke: var(--link); }
svg.processes a:hover .part { fill: var(--mark); }
svg.processes line { stroke: var(--ink); }
svg.processes .carrier { font-size: 11px; fill: var(--link);
  paint-order: stroke; stroke: var(--paper); stroke-width: 4px; }
svg.processes marker path { fill: var(--ink); }
"""


def drawing(layout: Layout, pages: Mapping[int, str], say: Labels = IN_ENGLISH) -> str:
    """The map as SVG; `pages` has the address of each chapter's page by its number, from the page that shows it."""
    tip_id = f"tip-{layout.name}"  # its own: a marker in a drawing that is not shown would not be drawn either
    parts = (
        *(_process(each, say) for each in layout.processes),
        *(_arrow(each, pages, say, tip_id) for each in layout.arrows),
        *(_part(each, pages, say) for each in layout.parts),
    )
    tip = (
        f'<marker id="{tip_id}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z"/></marker>'
    )
    label = escape(say("Processes, threads, queues and sockets of one engine"))
    return (
        f'<svg class="processes" viewBox="0 0 {WIDTH} {layout.height}" role="img" aria-label="{label}">'
        f"<defs>{tip}</defs>{''.join(parts)}</svg>"
    )


def _process(box: Box, say: Labels) -> str:
    frame = f'<rect class="process" x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="8"/>'
    return frame + _text(box.x + box.width // 2, box.y + 20, say(box.name), "process-name")


def _part(box: Box, pages: Mapping[int, str], say: Labels) -> str:
    middle = box.x + box.width // 2
    body = "".join(
        (
            f'<rect class="part" x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="5"/>',
            _text(middle, box.y + box.height // 2 - 3, say(box.name), "name"),
            _text(middle, box.y + box.height // 2 + 14, say(box.words), "words"),
        )
    )
    return _linked(body, box.chapter, pages)


def _arrow(arrow: Arrow, pages: Mapping[int, str], say: Labels, tip_id: str) -> str:
    (x1, y1), (x2, y2) = arrow.start, arrow.end
    line = f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" marker-end="url(#{tip_id})"/>'
    carrier = _text((x1 + x2) // 2, (y1 + y2) // 2 - 5, say(arrow.carrier), "carrier")
    return _linked(line + carrier, arrow.chapter, pages)


def _linked(body: str, chapter: int, pages: Mapping[int, str]) -> str:
    address = pages.get(chapter)
    return f'<a href="{escape(address)}">{body}</a>' if address else body


def _text(x: int, y: int, words: str, style: str) -> str:
    return f'<text class="{style}" x="{x}" y="{y}">{escape(words)}</text>'
