"""What is seen of a trace at first: the times that callers waited for, and the load of the engine over time.

For the terminal as rows of text, for the page as a table and small charts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np
import pandas as pd

from probes import htmlpage
from probes.console import Rows, us
from tracing.breakdown.batches.load import Floats, LoadFigure, over_time, quantities, span_of
from tracing.breakdown.findings import Findings
from tracing.breakdown.requests.chosen import origin_ns
from tracing.breakdown.requests.latencies import LatencyFigure
from tracing.timeline.steps.anatomy import working

LATENCIES = ["", "count", "P50", "P95", "P99"]
LOAD = ["", "median", "most", "over time"]
BARS = "▁▂▃▄▅▆▇█"
IDLE = "·"
WIDTH, HEIGHT, LEFT, TOP, BELOW = 230, 84, 32, 16, 14  # of a chart; the numbers stand in its margins
COLUMNS = WIDTH - LEFT  # one a pixel
STYLE = """
.first { display: flex; flex-wrap: wrap; gap: .6rem 1.4rem; align-items: flex-start; }
.first table { margin: 0; } .first td, .first th { padding-right: .5rem; }
svg.load { width: 230px; max-width: 100%; font: 9px system-ui, sans-serif; }
svg.load text { fill: var(--faint); } svg.load .name { fill: var(--ink); font-size: 11px; }
svg.load path { fill: var(--bar); fill-opacity: .35; stroke: var(--bar); stroke-width: 1; }
svg.load line { stroke: var(--line); }
"""


def latency_rows(figures: Sequence[LatencyFigure]) -> Rows:
    return [[row.name, f"{row.count:,}", us(row.p50_ns), us(row.p95_ns), us(row.p99_ns)] for row in figures]


def amount(name: str, value: float) -> str:
    """A quantity of the load as text: KV blocks in use or cached in percent, the others as they are."""
    return f"{value:.1%}" if name in ("KV use", "KV cached") else f"{value:g}"


def load_rows(figures: Sequence[LoadFigure]) -> Rows:
    """A row a quantity and core, with a sign for each sixtieth of the time."""
    cores = {row.core_pid for row in figures}
    return [
        [
            row.name if len(cores) == 1 else f"{row.name}, core {row.core_pid}",
            amount(row.name, row.median),
            amount(row.name, row.most),
            sparkline(row.over_time, row.most),
        ]
        for row in figures
    ]


def sparkline(values: Sequence[float], most: float) -> str:
    """A sign a value, the higher the more; nothing at all is a dot."""
    steps = len(BARS) - 1
    return "".join(BARS[round(steps * value / most)] if value else IDLE for value in values)


def first_screen(findings: Findings) -> str:
    """The table of latencies, and a chart for each quantity of the load."""
    latencies, steps = findings.review.latencies, working(findings.steps)
    loads = [CoreLoad(int(pid), rows, quantities(rows)) for pid, rows in steps.groupby("pid")]
    names = dict.fromkeys(name for load in loads for name in load.quantities)
    table = str(htmlpage.table(LATENCIES, latency_rows(latencies))) if latencies else ""
    charts = (chart(name, loads, span_of(steps), origin_ns(findings.timeline)) for name in names)
    return f'<div class="first">{table}{"".join(charts)}</div>'


class CoreLoad(NamedTuple):
    """The steps of a core that scheduled something, and their quantities by name."""

    pid: int
    steps: pd.DataFrame
    quantities: Mapping[str, Floats]


def chart(name: str, loads: Sequence[CoreLoad], window: tuple[int, int], origin: int) -> str:
    """One quantity over time as SVG, an area a core: the most of the steps in each pixel."""
    cores = [(load.pid, load.steps, load.quantities[name]) for load in loads if name in load.quantities]
    most = max(float(values.max()) for *_, values in cores) or 1.0
    areas = [
        f"<path d='{_area(over_time(rows, values, window, COLUMNS) / most)}'><title>core {pid}</title></path>"
        for pid, rows, values in cores
    ]
    bottom = TOP + HEIGHT
    edges = [f"{(time - origin) / 1e9:.2f} s" for time in window]
    return (
        f'<svg class="load" viewBox="0 0 {WIDTH} {bottom + BELOW}" role="img" xmlns="http://www.w3.org/2000/svg">'
        f'<text class="name" x="{LEFT}" y="11">{escape(name)}</text>'
        f'<text x="{LEFT - 3}" y="{TOP + 8}" text-anchor="end">{amount(name, most)}</text>'
        f'<text x="{LEFT - 3}" y="{bottom}" text-anchor="end">0</text>'
        f'<line x1="{LEFT}" x2="{WIDTH}" y1="{bottom}" y2="{bottom}"/>{"".join(areas)}'
        f'<text x="{LEFT}" y="{bottom + 11}">{edges[0]}</text>'
        f'<text x="{WIDTH}" y="{bottom + 11}" text-anchor="end">{edges[1]}</text></svg>'
    )


def _area(shares: np.ndarray) -> str:
    """The outline of a row of columns of some heights, shares of 1; points on one line are left out."""
    heights = np.round(TOP + HEIGHT * (1 - shares), 1)
    change = np.flatnonzero(np.diff(heights, prepend=np.nan))
    steps = "".join(f"H{LEFT + place}V{height:g}" for place, height in zip(change, heights[change], strict=True))
    return f"M{LEFT} {TOP + HEIGHT}{steps}H{LEFT + len(shares)}V{TOP + HEIGHT}Z"
