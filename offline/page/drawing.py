"""A chart of a page as an SVG file that needs nothing else: drawn here from the figure that plotly draws in a browser.

Of plotly's figures it knows what charts of ours use: lines and steps with marks and error bars, groups of bars, bands,
linear and logarithmic axes. What a reader would have to click for is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

import plotly.graph_objects as go

from probes.console import printable

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 400, 74, 16, 14, 48  # pixels; below that stands the legend
SIGN, ROW = 6.8, 18  # pixels of a letter and of the legend's row
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#222}.grid{stroke:#ddd}.axis{stroke:#888;fill:none}"
    ".line{fill:none;stroke-width:1.8}.whisker{fill:none;stroke-width:1.3}"
)
MARKS = {
    "circle": "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
    "circle-open": "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
    "diamond": "m0 -5l5 5l-5 5l-5 -5z",
    "x": "m-4 -4l8 8m0 -8l-8 8",
}
UNFILLED = ("circle-open", "x")
STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class DrawnPoint:
    """A value with the ends of its interval, which are the value itself where there is none; a bar's x is its name."""

    x: float | str
    y: float
    low: float
    high: float
    mark: str


@dataclass(frozen=True)
class DrawnAxis:
    """Values from `low` to `high` on pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def place(self, value: float) -> float:
        """The pixel of a value; one that a logarithmic axis cannot show stands at its lower end."""
        low, high, at = self.low, self.high, max(value, self.low)
        if self.is_log:
            low, high, at = math.log10(low), math.log10(high), math.log10(at)
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values on it: 1, 2 and 5 of each power of ten, or steps between them."""
        if not self.is_log:
            power = 10.0 ** math.floor(math.log10((self.high - self.low) / 6))
            step = next(part * power for part in STEPS if part * power * 7 >= self.high - self.low)
            first = math.ceil(self.low / step - 1e-9)
            return [step * number for number in range(first, math.floor(self.high / step + 1e-9) + 1)]
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        parts = (1, 2, 5) if len(powers) < 5 else (1,)
        inside = [part * 10.0**power for power in powers for part in parts]
        return [value for value in inside if self.low <= value <= self.high] or [self.low, self.high]


def drawing(figure: go.Figure, title: str) -> str:
    """The figure as the text of an SVG file."""
    traces = [(trace, points(trace)) for trace in figure.data if trace.visible in (None, True)]
    every = [point for _, own in traces for point in own]
    names = list(dict.fromkeys(point.x for point in every if isinstance(point.x, str)))
    layout = figure.layout
    edges = [edge for shape in layout.shapes for edge in (shape.x0, shape.x1)]
    xs = [float(point.x) for point in every if not isinstance(point.x, str)] + edges
    across = axis(xs, LEFT, WIDTH - RIGHT, layout.xaxis.type == "log")
    ys = [end for point in every for end in (point.low, point.high)]
    up = axis(ys, HEIGHT - BOTTOM, TOP, layout.yaxis.type == "log")
    parts = [*_bands(figure, across), *_rules(up, across, names)]
    bars = [each for each in traces if each[0].type == "bar"]
    for number, (trace, own) in enumerate(bars):
        parts += _bars(trace, own, names, up, number, len(bars))
    for trace, own in traces:
        parts += _line(trace, own, across, up) if trace.type == "scatter" else []
    legend = list(_legend([trace for trace, own in traces if own]))
    parts += [part for part, _ in legend]
    height = max((bottom for _, bottom in legend), default=HEIGHT) + 8
    middle = (HEIGHT - BOTTOM + TOP) / 2
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, layout.xaxis.title.text or ""))
    turned = f'transform="translate(14 {middle:.0f}) rotate(-90)" text-anchor="middle"'
    parts.append(f"<text {turned}>{_words(layout.yaxis.title.text or '')}</text>")
    return _svg(height, title, parts)


def points(trace: go.Figure) -> list[DrawnPoint]:
    """The values of a line or of bars, without those that are not known."""
    errors = trace.error_y if trace.error_y.array is not None and trace.error_y.visible is not False else None
    above = errors.array if errors else [0.0] * len(trace.y)
    below = errors.arrayminus if errors and errors.arrayminus is not None else above
    marks = getattr(trace.marker, "symbol", None) or ["circle"] * len(trace.y)  # bars have none
    values = zip(trace.x, trace.y, below, above, marks, strict=True)
    return [
        DrawnPoint(x if isinstance(x, str) else float(x), float(y), y - low, y + high, mark)
        for x, y, low, high, mark in values
        if x is not None and y is not None
    ]


def axis(values: Sequence[float], start: float, end: float, is_log: bool) -> DrawnAxis:
    """The axis on which values are shown: a linear one from zero on, a logarithmic one with some room."""
    shown = [value for value in values if value > 0 or not is_log]
    if is_log and shown:
        return DrawnAxis(min(shown) / 1.15, max(shown) * 1.15, start, end, True)
    low, high = min([0.0, *shown]), max([0.0, *shown])
    return DrawnAxis(low, high + 0.05 * (high - low) if high > low else low + 1, start, end)


# --- parts ---


def _bands(figure: go.Figure, across: DrawnAxis) -> Iterator[str]:
    for shape in figure.layout.shapes:
        left, right = across.place(shape.x0), across.place(shape.x1)
        size = f'x="{left:.1f}" y="{TOP}" width="{right - left:.1f}" height="{HEIGHT - BOTTOM - TOP}"'
        yield f'<rect {size} fill="{_words(shape.fillcolor)}" opacity="{shape.opacity}"/>'


def _rules(up: DrawnAxis, across: DrawnAxis, names: Sequence[str | float]) -> Iterator[str]:
    """Both axes with their values; names stand where bars do."""
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for tick in up.ticks():
        y = up.place(tick)
        yield f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield _text(LEFT - 6, y + 4, f"{tick:g}", "end")
    for number, name in enumerate(names):
        yield _text(_middle(number, len(names)), bottom + 17, str(name))
    for tick in () if names else across.ticks():
        yield _text(across.place(tick), bottom + 17, f"{tick:g}")
    yield f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>'


def _middle(number: int, of: int) -> float:
    """Where the bars of a name stand."""
    return LEFT + (WIDTH - RIGHT - LEFT) * (number + 0.5) / of


def _line(trace: go.Figure, own: Sequence[DrawnPoint], across: DrawnAxis, up: DrawnAxis) -> Iterator[str]:
    colour, mode = _colour(trace), trace.mode or "lines"
    places = [(across.place(float(point.x)), up.place(point.y), point) for point in own]
    if "lines" in mode and places:
        yield f'<path class="line" stroke="{colour}"{_dash(trace)} d="{_route(trace, places)}"/>'
    for x, y, point in places if "markers" in mode else ():
        fill = "none" if point.mark in UNFILLED else colour
        yield _whisker(x, up, point, colour)
        yield f'<path stroke="{colour}" stroke-width="1.6" fill="{fill}" d="M{x:.1f} {y:.1f}{MARKS[point.mark]}"/>'


def _route(trace: go.Figure, places: Sequence[tuple[float, float, DrawnPoint]]) -> str:
    """From point to point; `hv` goes along first and then up."""
    (x, y, _), *others = places
    steps = (f"H{x:.1f}V{y:.1f}" if trace.line.shape == "hv" else f"L{x:.1f} {y:.1f}" for x, y, _ in others)
    return f"M{x:.1f} {y:.1f}" + "".join(steps)


def _bars(
    trace: go.Figure, own: Sequence[DrawnPoint], names: Sequence[str | float], up: DrawnAxis, number: int, of: int
) -> Iterator[str]:
    """One bar of each name's group."""
    width = (WIDTH - RIGHT - LEFT) / len(names) * 0.8 / of if names else 0.0
    colour, floor = _colour(trace), up.place(0.0)
    for point in own:
        left, top = _middle(names.index(point.x), len(names)) + (number - of / 2) * width, up.place(point.y)
        size = f'x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{floor - top:.1f}"'
        yield f'<rect {size} fill="{colour}"/>{_whisker(left + width / 2, up, point, "#222")}'


def _whisker(x: float, up: DrawnAxis, point: DrawnPoint, colour: str) -> str:
    """The interval of a value; nothing where there is none."""
    if point.low == point.high:
        return ""
    high, low = up.place(point.high), up.place(point.low)
    route = f"M{x - 4:.1f} {high:.1f}h8M{x:.1f} {high:.1f}V{low:.1f}m-4 0h8"
    return f'<path class="whisker" stroke="{colour}" d="{route}"/>'


def _legend(traces: Sequence[go.Figure]) -> Iterator[tuple[str, float]]:
    """Each trace's name below the chart, and the pixel at which it ends."""
    left, y = float(LEFT), HEIGHT + 14.0
    for trace in traces:
        width = 40 + SIGN * len(str(trace.name))
        if left > LEFT and left + width > WIDTH - RIGHT:
            left, y = float(LEFT), y + ROW
        key = f'<path class="line" stroke="{_colour(trace)}"{_dash(trace)} d="M{left:.0f} {y}h22"/>'
        yield key + _text(left + 28, y + 4, str(trace.name), "start"), y
        left += width


def _colour(trace: go.Figure) -> str:
    return _words(str(trace.marker.color if trace.type == "bar" else trace.line.color))


def _dash(trace: go.Figure) -> str:
    return ' stroke-dasharray="2 4"' if trace.type == "scatter" and trace.line.dash == "dot" else ""


def _text(x: float, y: float, words: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{_words(words)}</text>'


def _words(text: str) -> str:
    return escape(printable(text))


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    size = f'viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img"><title>{_words(title)}</title>'
    paper = f'<style>{STYLE}</style><rect width="100%" height="100%" fill="#fff"/>'
    return "\n".join([head + paper, *parts, "</svg>\n"])
