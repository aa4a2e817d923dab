"""Charts as SVG files that need nothing else: lines with error bars in panels, and horizontal bars with whiskers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT, HEAD, PANEL, FOOT, GAP = 960, 56, 8, 30, 230, 46, 22  # pixels
ACROSS = 3  # panels in a row
LABEL, BAR = 170, 22  # of the bar chart: the width of its names, and the height of a bar's place
# Eight colours that colour-blind readers can tell apart (Okabe and Ito's set, its yellow darkened for white paper).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f6000", "#000000")
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#222}.small{font-size:11px;fill:#555}.axis{stroke:#888}.grid{stroke:#ddd}"
    "path.series{fill:none;stroke-width:1.8}.whisker{stroke-width:1.3;fill:none}"
)


@dataclass(frozen=True)
class Point:
    """A value over `x`, with its interval where there is one."""

    x: float
    y: float
    lo: float | None = None
    hi: float | None = None


Panels = Mapping[str, Mapping[str, Sequence[Point]]]  # points by panel and line


def lines(panels: Panels, x_label: str, y_label: str, note: str) -> str:
    """A panel beside the other, with one scale: `x` by doubling (log₂), `y` from zero."""
    everything = [point for panel in panels.values() for points in panel.values() for point in points]
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    ticks = round_ticks(max((point.hi or point.y for point in everything), default=1.0))
    xs = sorted({point.x for point in everything})
    across = min(len(panels), ACROSS) or 1
    width = (WIDTH - LEFT - RIGHT - GAP * (across - 1)) / across
    first = HEAD + 8 + 18 * math.ceil(len(names) / ACROSS)
    parts = [_legend(names)]
    for number, (title, panel) in enumerate(panels.items()):
        top = first + (number // across) * (PANEL + FOOT + HEAD)
        frame = _Frame(LEFT + (number % across) * (width + GAP), top, width, xs, ticks)
        parts += [frame.axes(title, x_label, number % across == 0)]
        parts += [frame.line(points, names.index(name), len(names), name) for name, points in panel.items()]
    turned = f'transform="translate(13 {first + PANEL / 2:.0f}) rotate(-90)"'
    parts.append(f'<text {turned} text-anchor="middle">{escape(y_label)}</text>')
    height = first + math.ceil(len(panels) / across) * (PANEL + FOOT + HEAD) - HEAD
    return _svg(height, f"{y_label} against {x_label}", parts, note)


def bars(rows: Sequence[tuple[str, float, float, str]], x_label: str, note: str) -> str:
    """A bar a row: name, value, end of its whisker, and the text at the bar's end."""
    ticks = round_ticks(max((max(value, end) for _, value, end, _ in rows), default=1.0))
    scale = (WIDTH - LABEL - 150) / ticks[-1]
    bottom = 10 + BAR * len(rows)
    parts = []
    for tick in ticks:
        left = LABEL + tick * scale
        parts.append(f'<line class="grid" x1="{left:.1f}" x2="{left:.1f}" y1="8" y2="{bottom}"/>')
        parts.append(_text(left, bottom + 15, f"{tick:g}", small=True))
    for number, (name, value, end, text) in enumerate(rows):
        y, right = 10 + BAR * number, LABEL + value * scale
        parts.append(_text(LABEL - 8, y + 14, name, "end"))
        parts.append(
            f'<rect x="{LABEL}" y="{y + 3}" width="{right - LABEL:.2f}" height="{BAR - 7}" fill="{COLOURS[4]}">'
            f"<title>{escape(name)}: {escape(text)}</title></rect>"
        )
        parts.append(_whisker_across(right, LABEL + end * scale, y + 3 + (BAR - 7) / 2))
        parts.append(_text(max(right, LABEL + end * scale) + 8, y + 14, text, "start", small=True))
    parts.append(f'<line class="axis" x1="{LABEL}" x2="{LABEL}" y1="8" y2="{bottom}"/>')
    parts.append(_text(LABEL + ticks[-1] * scale / 2, bottom + 34, x_label))
    return _svg(bottom + 44, x_label, parts, note)


def round_ticks(most: float) -> list[float]:
    """Four to seven round values from zero to `most` or just above it."""
    power = 10.0 ** math.floor(math.log10(max(most, 1e-9) / 4))
    step = next(part * power for part in (1, 2, 2.5, 5, 10) if part * power * 6 >= most)
    return [step * number for number in range(max(math.ceil(most / step - 1e-9), 1) + 1)]


# --- parts ---


@dataclass(frozen=True)
class _Frame:
    """One panel: where it stands, and its scales."""

    left: float
    top: float
    width: float
    xs: Sequence[float]
    ticks: Sequence[float]

    def x(self, value: float) -> float:
        """By doubling; the first and last value keep some room for the lines that stand beside each other."""
        low, high = math.log2(self.xs[0]), math.log2(self.xs[-1])
        share = (math.log2(value) - low) / (high - low) if high > low else 0.5
        return self.left + 24 + share * (self.width - 48)

    def y(self, value: float) -> float:
        return self.top + PANEL * (1 - value / self.ticks[-1])

    def axes(self, title: str, x_label: str, numbered: bool) -> str:
        """The panel's title, grid and ticks; `numbered` where its `y` ticks have their values."""
        right, bottom, middle = self.left + self.width, self.top + PANEL, self.left + self.width / 2
        parts = [_text(middle, self.top - 8, title), _text(middle, bottom + 35, x_label)]
        for tick in self.ticks:
            y = self.y(tick)
            parts.append(f'<line class="grid" x1="{self.left:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts += [_text(self.left - 6, y + 4, f"{tick:g}", "end", small=True)] if numbered else []
        parts.append(f'<path class="axis" fill="none" d="M{self.left:.1f} {self.top}V{bottom}H{right:.1f}"/>')
        return "".join(parts + [_text(self.x(value), bottom + 16, f"{value:g}", small=True) for value in self.xs])

    def line(self, points: Sequence[Point], number: int, of: int, name: str) -> str:
        """A line with a mark and an error bar a point; lines stand a few pixels apart so that bars do not cover."""
        colour, aside = _colour(number), (number - (of - 1) / 2) * min(6, 36 / of)
        places = [(self.x(p.x) + aside, self.y(p.y), p) for p in sorted(points, key=lambda p: p.x)]
        route = "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in places)
        return f'<path class="series" stroke="{colour}"{_dash(number)} d="M{route}"/>' + "".join(
            f'<g stroke="{colour}"><title>{escape(in_words(name, p))}</title>{self._whisker(x, p)}'
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="{colour}"/></g>'
            for x, y, p in places
        )

    def _whisker(self, x: float, point: Point) -> str:
        """From `lo` to `hi`, a cap at each end; an interval that goes below zero ends at the axis without one."""
        if point.lo is None or point.hi is None:
            return ""
        low, high = self.y(max(point.lo, 0)), self.y(point.hi)
        cap = f"M{x - 3:.1f} {low:.1f}h6" if point.lo >= 0 else ""
        return f'<path class="whisker" d="M{x - 3:.1f} {high:.1f}h6M{x:.1f} {high:.1f}V{low:.1f}{cap}"/>'


def in_words(name: str, point: Point) -> str:
    """A point in words, for who rests the pointer on it."""
    interval = "n=1" if point.lo is None or point.hi is None else f"[{point.lo:.4g}, {point.hi:.4g}]"
    return f"{name}, {point.x:g}: {point.y:.4g} {interval}"


def _text(x: float, y: float, words: str, anchor: str = "middle", small: bool = False) -> str:
    css = ' class="small"' if small else ""
    return f'<text{css} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _whisker_across(start: float, end: float, y: float) -> str:
    route = f"M{start:.1f} {y}H{end:.1f}M{end:.1f} {y - 4}v8"
    return f'<path class="whisker" stroke="#222" d="{route}"/>' if end > start else ""


def _legend(names: Sequence[str]) -> str:
    """The lines' names, three in a row."""
    parts = []
    for number, name in enumerate(names):
        left, y = LEFT + (number % ACROSS) * 300, 14 + 18 * (number // ACROSS)
        parts.append(f'<path class="series" stroke="{_colour(number)}" d="M{left} {y}h22"{_dash(number)}/>')
        parts.append(_text(left + 28, y + 4, name, "start"))
    return "".join(parts)


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _dash(number: int) -> str:
    return ' stroke-dasharray="6 3"' if number >= len(COLOURS) else ""


def _svg(height: float, title: str, parts: Sequence[str], note: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height + 22:.0f}" width="{WIDTH}" '
        f'height="{height + 22:.0f}" role="img"><title>{escape(title)}</title><style>{STYLE}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>\n'
        + "\n".join(parts)
        + f'\n<text class="small" x="8" y="{height + 12:.0f}">{escape(note)}</text></svg>\n'
    )
