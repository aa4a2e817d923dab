"""Swim lanes as SVG: what every thread did in a window of time, nested spans below those around them."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import numpy as np
import pandas as pd

from tracing.sites.engine import ALL_SITES
from tracing.sites.site import ENCLOSING, ROLES
from tracing.sites.starting import START_SITES
from tracing.timeline.nesting import Nesting
from tracing.timeline.spans import Timeline

WIDTH, LABEL, ROW, GAP, AXIS = 1120, 150, 15, 10, 22
STAGES = tuple(dict.fromkeys(site.stage for site in (*ALL_SITES, *START_SITES)))
LEAST_PX = 1.0  # of narrower spans one a pixel is drawn: thousands of them would be one bar anyhow
DEPTHS = 6
STYLE = """
svg.lanes { width: 100%; min-width: 760px; font: 9px system-ui, sans-serif; }
svg.lanes text { fill: var(--ink); } svg.lanes .axis text { fill: var(--faint); }
svg.lanes .axis line { stroke: var(--line); } svg.lanes g:hover rect { stroke: var(--ink); stroke-width: 1; }
svg.lanes rect { fill: hsl(var(--hue) var(--bright)); stroke: var(--paper); stroke-width: .4; }
svg.lanes .wait rect { fill: hsl(var(--hue) 12% 60% / .35); }
"""  # the page that holds a drawing says what --ink, --faint, --line, --paper and --bright are


def hue(stage: str) -> int:
    """A stage's colour on the wheel, the same on every drawing."""
    return (STAGES.index(stage) * 47 if stage in STAGES else 0) % 360


def drawing(
    timeline: Timeline,
    start_ns: int,
    end_ns: int,
    origin_ns: int,
    most: int = 4000,
    links: Mapping[str, str] | None = None,
) -> str:
    """An SVG of all spans between two times, lanes by role and thread; times are told from `origin_ns`.

    Frames (functions that only enclose others) are left out; the longest `most` spans are drawn. `links` has addresses
    by site: the bars of those lead there.
    """
    spans = timeline.spans
    inside = spans[(spans["start_ns"] < end_ns) & (spans["end_ns"] > start_ns) & ~spans["share"].isin(ENCLOSING)]
    if len(inside) > most:
        length = inside["end_ns"] - inside["start_ns"]
        inside = inside[length >= np.sort(length.to_numpy())[-most]]
    scale = (WIDTH - LABEL) / max(end_ns - start_ns, 1)
    parts: list[str] = []
    top = AXIS
    for label, rows in _lanes(inside):
        depth = np.minimum(_depths(rows), DEPTHS - 1)
        height = (int(depth.max()) + 1) * ROW
        parts.append(f'<text class="lane" x="0" y="{top + 11}">{escape(label)}</text>')
        for row, level in _drawn(rows, depth, scale):
            bar = _bar(row, scale, start_ns, end_ns, top + ROW * level)
            parts.append(linked(bar, (links or {}).get(str(row[2]))))
        top += height + GAP
    axis = _axis(start_ns, end_ns, origin_ns, scale, top)
    return (
        f'<svg viewBox="0 0 {WIDTH} {top}" role="img" class="lanes" xmlns="http://www.w3.org/2000/svg">'
        f"{axis}{''.join(parts)}</svg>"
    )


def _lanes(spans: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Threads in the order of the roles that a request meets."""
    threads = []
    for (pid, thread), rows in spans.groupby(["pid", "thread"], sort=True):
        counts = rows["role"].astype(str).value_counts()
        role = next((role for role in counts.index if counts[role] >= 1), "")
        place = ROLES.index(role) if role in ROLES else len(ROLES)
        name = str(rows["thread_name"].iloc[0])
        short = role if name == "MainThread" else f"{role} ({name.split('(')[-1].strip(')')[:14]})"
        threads.append((place, int(pid), int(thread), short, rows))
    return [(label, rows) for _, _, _, label, rows in sorted(threads, key=lambda lane: lane[:3])]


def _depths(rows: pd.DataFrame) -> np.ndarray:
    """How many spans each is inside of; rows are sorted by start, the longest first."""
    depths: list[int] = []
    nesting = Nesting[None]()
    for start, end in zip(rows["start_ns"], rows["end_ns"], strict=True):
        nesting.begin(start, end, None)
        depths.append(len(nesting.open) - 1)
    return np.array(depths)


def _drawn(rows: pd.DataFrame, depth: np.ndarray, scale: float) -> list[tuple[tuple[object, ...], int]]:
    columns = ["start_ns", "end_ns", "site", "stage", "share", "request"]
    narrow = ((rows["end_ns"] - rows["start_ns"]) * scale < LEAST_PX).to_numpy()
    pixel = (rows["start_ns"].to_numpy() * scale).astype(np.int64)
    again = pd.DataFrame({"pixel": pixel, "depth": depth, "narrow": narrow}).duplicated().to_numpy()
    keep = ~(narrow & again)
    visible = rows.loc[keep, columns].astype({"site": str, "stage": str, "share": str})
    return [(row, int(level)) for row, level in zip(visible.itertuples(index=False), depth[keep], strict=True)]


def _bar(row: tuple[object, ...], scale: float, start_ns: int, end_ns: int, top: int) -> str:
    begin, end, site, stage, share, request = row
    left = LABEL + (max(int(begin), start_ns) - start_ns) * scale  # type: ignore[call-overload]
    right = LABEL + (min(int(end), end_ns) - start_ns) * scale  # type: ignore[call-overload]
    took = (int(end) - int(begin)) / 1e3  # type: ignore[call-overload]
    tooltip = f"{site} ({stage}), {took:,.1f} µs" + (f", request {request}" if isinstance(request, str) else "")
    style = "wait" if share == "wait" else "work"
    width = max(right - left, LEAST_PX)
    words = (
        f'<text x="{left + 2:.2f}" y="{top + 10}">{escape(str(stage))}</text>' if width > 6.5 * len(str(stage)) else ""
    )
    return (
        f'<g class="{style}" style="--hue:{hue(str(stage))}"><title>{escape(tooltip)}</title>'
        f'<rect x="{left:.2f}" y="{top}" width="{width:.2f}" height="{ROW - 1}"/>{words}</g>'
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
    return f"{time_ns / 1e6:g} ms" if step_ns >= 100_000 else f"{time_ns / 1e3:g} µs"
