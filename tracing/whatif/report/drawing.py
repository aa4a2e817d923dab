"""Time beside gain, as SVG: a row a stage, with its time in a step on the left and what that would buy on the right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from probes.console import us
from probes.statistics.intervals import Estimate

LABEL, PANEL, GAP, ROW, TOP = 170, 340, 80, 26, 24  # px
STYLE = """
svg.gains { width: 100%; max-width: 980px; font: 12px system-ui, sans-serif; }
svg.gains text { fill: var(--ink); } svg.gains .faint { fill: var(--faint); } svg.gains rect { fill: var(--bar); }
svg.gains line { stroke: var(--ink); stroke-width: 2; } svg.gains line.zero { stroke: var(--line); stroke-width: 1; }
svg.gains circle { fill: var(--ink); }
"""


@dataclass(frozen=True)
class DrawnStage:
    """A stage's time in a step, and what is set beside it, with its interval; `words` is that in words."""

    name: str
    time_ns: float
    gain: Estimate
    words: str


def drawing(stages: Sequence[DrawnStage], right: str) -> Markup:
    """The drawing; `right` says what stands on the right. Bars are as long as the longest allows, and so are the
    intervals, of which 0 has a line of its own."""
    longest_ns = max((stage.time_ns for stage in stages), default=0.0) or 1.0
    ends = [end for stage in stages for end in (stage.gain.low, stage.gain.value, stage.gain.high) if end is not None]
    least, most = min(0.0, *ends), max(0.0, *ends)
    scale = PANEL / ((most - least) or 1.0)
    origin = LABEL + PANEL + GAP
    height = TOP + ROW * len(stages)
    rows = [_row(stage, TOP + ROW * number, longest_ns) for number, stage in enumerate(stages)]
    marks = [_mark(stage, TOP + ROW * number, origin, least, scale) for number, stage in enumerate(stages)]
    zero = origin - least * scale
    heads = Markup(
        '<text class="faint" x="{}" y="14">time a step</text><text class="faint" x="{}" y="14">{}</text>'
        '<line class="zero" x1="{:.1f}" y1="{}" x2="{:.1f}" y2="{}"/>'
    ).format(LABEL, origin, right, zero, TOP, zero, height)
    return Markup('<svg class="gains" viewBox="0 0 {} {}">{}{}{}</svg>').format(
        origin + PANEL + GAP, height, heads, Markup("").join(rows), Markup("").join(marks)
    )


def _row(stage: DrawnStage, top: int, longest_ns: float) -> Markup:
    """Its name, its time as a bar, and that in figures."""
    width = PANEL * stage.time_ns / longest_ns
    return Markup(
        '<text x="0" y="{}">{}</text><rect x="{}" y="{}" width="{:.1f}" height="12"/><text x="{:.1f}" y="{}">{}</text>'
    ).format(top + 16, stage.name, LABEL, top + 6, width, LABEL + width + 6, top + 16, us(stage.time_ns))


def _mark(stage: DrawnStage, top: int, origin: int, least: float, scale: float) -> Markup:
    """A dot, and the interval as a line where there is one."""

    def place(value: float) -> float:
        return origin + (value - least) * scale

    low, high = stage.gain.low, stage.gain.high
    line = Markup("")
    if low is not None and high is not None:
        line = Markup('<line x1="{:.1f}" y1="{}" x2="{:.1f}" y2="{}"/>').format(
            place(low), top + 12, place(high), top + 12
        )
    dot = Markup('<circle cx="{:.1f}" cy="{}" r="4"/>').format(place(stage.gain.value), top + 12)
    return Markup("<g><title>{}: {}</title>{}{}</g>").format(stage.name, stage.words, line, dot)
