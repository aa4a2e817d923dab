"""A line chart as SVG in a page: no scripts, in the page's own colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from probes.metrics.table import number

WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 48, 26, 46
COLORS = ("var(--bar)", "#d97706", "#16a34a")
STYLE = "svg text { font: 12px system-ui, sans-serif; fill: var(--faint); } svg .axis { stroke: var(--line); }"
LABELS = 5  # below the horizontal axis at most
TICKS = 4


@dataclass(frozen=True)
class Line:
    """A line of a chart: a value for each place on the horizontal axis, None where there is none."""

    name: str
    values: Sequence[float | None]


def line_chart(places: Sequence[str], lines: Sequence[Line], unit: str) -> Markup:
    """Lines over named places, evenly spaced; the vertical axis begins at 0."""
    greatest = max((value for line in lines for value in line.values if value is not None), default=0.0) or 1.0
    parts = [*_axis(places, greatest, unit), *(_line(line, at, greatest) for at, line in enumerate(lines))]
    body = Markup("").join(parts)
    return Markup('<svg viewBox="0 0 {} {}" width="{}" role="img">{}</svg>').format(WIDTH, HEIGHT, WIDTH, body)


def _axis(places: Sequence[str], greatest: float, unit: str) -> list[Markup]:
    parts = []
    for tick in range(TICKS + 1):
        value = greatest * tick / TICKS
        y = _y(value, greatest)
        rule = Markup('<line class="axis" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(LEFT, WIDTH - RIGHT, y, y)
        label = Markup('<text x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(LEFT - 6, y + 4, number(value))
        parts += [rule, label]
    every = -(-len(places) // LABELS)
    for at in range(0, len(places), max(every, 1)):
        x = _x(at, len(places))
        parts.append(
            Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(x, HEIGHT - BOTTOM + 18, places[at])
        )
    parts.append(Markup('<text x="4" y="12">{}</text>').format(unit))
    return parts


def _line(line: Line, at: int, greatest: float) -> Markup:
    color = COLORS[at % len(COLORS)]
    points = [
        f"{_x(place, len(line.values)):.1f},{_y(value, greatest):.1f}"
        for place, value in enumerate(line.values)
        if value is not None
    ]
    drawn = Markup('<polyline fill="none" stroke-width="2" style="stroke:{}" points="{}"/>').format(
        color, " ".join(points)
    )
    dots = Markup("").join(
        Markup('<circle r="2.5" style="fill:{}" cx="{}" cy="{}"/>').format(color, *point.split(",")) for point in points
    )
    name = Markup('<text x="{}" y="{}" style="fill:{}">{}</text>').format(LEFT + 150 * at, HEIGHT - 6, color, line.name)
    return drawn + dots + name


def _x(place: int, places: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (place + 0.5) / max(places, 1)


def _y(value: float, greatest: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / greatest)
