"""Swim lanes as SVG: what every thread did in a window of time, nested spans below those around them.

A page that has `ZOOM` beside a drawing lets its reader zoom, pan and hover; without it the drawing stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import NamedTuple

import numpy as np
import pandas as pd

from tracing.sites.engine import ALL_SITES
from tracing.sites.site import ENCLOSING, place_of
from tracing.sites.starting import START_SITES
from tracing.timeline.nesting import Nesting
from tracing.timeline.spans import Timeline

WIDTH, LABEL, ROW, GAP, AXIS = 1120, 150, 15, 10, 22
STAGES = tuple(dict.fromkeys(site.stage for site in (*ALL_SITES, *START_SITES)))
LEAST_PX = 1.0  # of narrower spans one a pixel is drawn: thousands of them would be one bar anyhow
DEPTHS = 6
MOST = 4000  # spans, the longest
LETTER_PX = 6.5
STYLE = """
svg.lanes { width: 100%; min-width: 760px; font: 9px system-ui, sans-serif; }
svg.lanes text { fill: var(--ink); } svg.lanes .axis text { fill: var(--faint); }
svg.lanes .axis line { stroke: var(--line); } svg.lanes g:hover rect { stroke: var(--ink); stroke-width: 1; }
svg.lanes rect { fill: hsl(var(--hue) var(--bright)); stroke: var(--paper); stroke-width: .4; }
svg.lanes .wait rect { fill: hsl(var(--hue) 12% 60% / .35); }
"""  # the page that holds a drawing says what --ink, --faint, --line, --paper and --bright are
ZOOM_STYLE = """
.zoom { touch-action: pan-y; } .zoom svg.lanes { cursor: grab; user-select: none; display: block; }
.zoom:focus-visible { outline: 2px solid var(--bar); } .zoom nav { display: flex; gap: .3rem; align-items: center; }
.zoom nav button { font: inherit; font-size: .8rem; min-width: 2rem; color: var(--ink); background: none;
  border: 1px solid var(--line); border-radius: 3px; cursor: pointer; }
#tip { position: fixed; z-index: 1; pointer-events: none; font-size: .8rem; max-width: 34rem; padding: .2rem .5rem;
  background: var(--paper); border: 1px solid var(--faint); border-radius: 3px; overflow-wrap: anywhere; }
#tip[hidden] { display: none; }
"""
ZOOM = files(__package__).joinpath("lanes.js").read_text()
HELP = "Drag to pan; Ctrl and the wheel, + and - zoom, a double click zooms in on a bar; 0 shows all."


class Bar(NamedTuple):
    """A bar of a lane: from when to when (ns), the stage that gives it its colour, the words on it, whether it is a
    wait, what is told of it, and the address that it leads to, if any."""

    start_ns: int
    end_ns: int
    stage: str
    words: str
    is_wait: bool
    tooltip: str
    link: str | None = None


class Lane(NamedTuple):
    """A label, and its bars, each with its level: 0 is the uppermost."""

    label: str
    bars: list[tuple[Bar, int]]


def hue(stage: str) -> int:
    """A stage's colour on the wheel, the same on every drawing."""
    return (STAGES.index(stage) * 47 if stage in STAGES else 0) % 360


def drawing(
    timeline: Timeline, start_ns: int, end_ns: int, origin_ns: int, links: Mapping[str, str] | None = None
) -> str:
    """An SVG of all spans between two times, lanes by role and thread; times are told from `origin_ns`."""
    return picture(thread_lanes(timeline, start_ns, end_ns, links), start_ns, end_ns, origin_ns)


def thread_lanes(
    timeline: Timeline, start_ns: int, end_ns: int, links: Mapping[str, str] | None = None, zoom: int = 1
) -> list[Lane]:
    """The lanes of all threads that have spans between two times, by role.

    Frames (functions that only enclose others) are left out, and of spans that would be narrow in a picture `zoom`
    times as wide those that another hides. `links` has addresses by site: the bars of those lead there.
    """
    spans = timeline.spans.iloc[: int(np.searchsorted(timeline.spans["start_ns"].to_numpy(), end_ns))]
    inside = spans[(spans["end_ns"] > start_ns).to_numpy() & ~spans["share"].isin(ENCLOSING)]
    if len(inside) > MOST:
        length = inside["end_ns"] - inside["start_ns"]
        inside = inside[length >= np.sort(length.to_numpy())[-MOST]]
    scale = zoom * _scale(start_ns, end_ns)
    return [Lane(label, _bars(rows, scale, links or {})) for label, rows in _threads(inside)]


def picture(lanes: Sequence[Lane], start_ns: int, end_ns: int, origin_ns: int) -> str:
    """An SVG of some lanes between two times, which are told from `origin_ns`."""
    scale, parts, top = _scale(start_ns, end_ns), [], AXIS
    for label, bars in lanes:
        parts.append(f'<text class="lane" x="0" y="{top + 11}">{escape(label)}</text>')
        for bar, level in bars:
            parts.append(linked(_bar(bar, scale, start_ns, end_ns, origin_ns, top + ROW * level), bar.link))
        top += (max((level for _, level in bars), default=0) + 1) * ROW + GAP
    axis = _axis(start_ns, end_ns, origin_ns, scale, top)
    window = f"{(start_ns - origin_ns) / 1e3:.3f} {(end_ns - origin_ns) / 1e3:.3f}"
    return (
        f'<svg viewBox="0 0 {WIDTH} {top}" role="img" class="lanes" data-window="{window}" data-left="{LABEL}" '
        f'xmlns="http://www.w3.org/2000/svg">{axis}{"".join(parts)}</svg>'
    )


def zoomable(svg: str) -> str:
    """A drawing in a box that `ZOOM` makes its reader zoom."""
    return f'<div class="zoom" tabindex="0">{svg}</div>'


def _scale(start_ns: int, end_ns: int) -> float:
    """Pixels a nanosecond."""
    return (WIDTH - LABEL) / max(end_ns - start_ns, 1)


def _threads(spans: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Threads in the order of the roles that a request meets."""
    threads = []
    for (pid, thread), rows in spans.groupby(["pid", "thread"], sort=True):
        counts = rows["role"].astype(str).value_counts()
        role = next((role for role in counts.index if counts[role] >= 1), "")
        name = str(rows["thread_name"].iloc[0])
        short = role if name == "MainThread" else f"{role} ({name.split('(')[-1].strip(')')[:14]})"
        threads.append((place_of(role), int(pid), int(thread), short, rows))
    return [(label, rows) for _, _, _, label, rows in sorted(threads, key=lambda lane: lane[:3])]


def _depths(rows: pd.DataFrame) -> np.ndarray:
    """How many spans each is inside of; rows are sorted by start, the longest first."""
    depths: list[int] = []
    nesting = Nesting[None]()
    for start, end in zip(rows["start_ns"].tolist(), rows["end_ns"].tolist(), strict=True):
        nesting.begin(start, end, None)
        depths.append(len(nesting.open) - 1)
    return np.array(depths)


def _bars(rows: pd.DataFrame, scale: float, links: Mapping[str, str]) -> list[tuple[Bar, int]]:
    """The bars of a thread with their levels, without narrow ones that another hides."""
    depth = np.minimum(_depths(rows), DEPTHS - 1)
    narrow = ((rows["end_ns"] - rows["start_ns"]) * scale < LEAST_PX).to_numpy()
    pixel = (rows["start_ns"].to_numpy() * scale).astype(np.int64)
    keep = ~(narrow & pd.DataFrame({"pixel": pixel, "depth": depth, "narrow": narrow}).duplicated().to_numpy())
    visible = rows[keep]
    times = (visible[name].tolist() for name in ("start_ns", "end_ns"))
    texts = (_texts(visible[name]) for name in ("site", "stage", "share", "request"))
    bars = [
        Bar(begin, end, stage, stage, share == "wait", _tooltip(begin, end, site, stage, request), links.get(site))
        for begin, end, site, stage, share, request in zip(*times, *texts, strict=True)
    ]
    return list(zip(bars, depth[keep].tolist(), strict=True))


def _texts(column: pd.Series) -> list[str]:
    """A column of categories as texts, empty where one is missing."""
    used, place = np.unique(column.cat.codes.to_numpy(), return_inverse=True)
    texts = ["" if code < 0 else str(column.cat.categories[code]) for code in used.tolist()]
    return [texts[at] for at in place.tolist()]


def _tooltip(begin: int, end: int, site: str, stage: str, request: str) -> str:
    of = f", request {request}" if request else ""
    return f"{site} ({stage}), {(end - begin) / 1e3:,.1f} µs{of}"


def _bar(bar: Bar, scale: float, start_ns: int, end_ns: int, origin_ns: int, top: int) -> str:
    left = LABEL + (max(bar.start_ns, start_ns) - start_ns) * scale
    right = LABEL + (min(bar.end_ns, end_ns) - start_ns) * scale
    width, words = max(right - left, LEAST_PX), escape(bar.words)
    at = f"{(bar.start_ns - origin_ns) / 1e3:.3f} {(bar.end_ns - bar.start_ns) / 1e3:.3f} {words}"
    shown = f'<text x="{left + 2:.2f}" y="{top + 10}">{words}</text>' if width > LETTER_PX * len(bar.words) else ""
    return (
        f'<g class="{"wait" if bar.is_wait else "work"}" style="--hue:{hue(bar.stage)}" data-at="{at}">'
        f"<title>{escape(bar.tooltip)}</title>"
        f'<rect x="{left:.2f}" y="{top}" width="{width:.2f}" height="{ROW - 1}"/>{shown}</g>'
    )


def linked(svg: str, address: str | None) -> str:
    """A piece of SVG that leads to an address, where there is one."""
    return f'<a href="{escape(address)}">{svg}</a>' if address else svg


def _axis(start_ns: int, end_ns: int, origin_ns: int, scale: float, height: int) -> str:
    """About eight ticks at round times."""
    step = _round_step((end_ns - start_ns) / 8)
    first = -(-(start_ns - origin_ns) // step) * step
    ticks = []
    for time in range(int(first), int(end_ns - origin_ns) + 1, int(step)):
        left = LABEL + (time + origin_ns - start_ns) * scale
        ticks.append(
            f'<line x1="{left:.1f}" x2="{left:.1f}" y1="14" y2="{height}"/>'
            f'<text x="{left:.1f}" y="10" text-anchor="middle">{_time(time, step)}</text>'
        )
    return f'<g class="axis">{"".join(ticks)}</g>'


def _round_step(about: float) -> int:
    power = 10 ** max(int(np.floor(np.log10(max(about, 1)))), 0)
    return int(power * next(step for step in (1, 2, 5, 10) if step * power >= about))


def _time(time_ns: int, step_ns: int) -> str:
    if step_ns >= 100_000_000:
        return f"{time_ns / 1e9:g} s"
    return f"{time_ns / 1e6:g} ms" if step_ns >= 100_000 else f"{time_ns / 1e3:g} µs"
