"""The answer as a page that works from disk: time beside gain, the table, and the slope at each size."""

from __future__ import annotations

from collections.abc import Sequence

from probes import htmlpage
from probes.console import us
from probes.htmlpage import PageSection
from tracing.whatif.answer import StageAnswer, WhatIfAnswer
from tracing.whatif.report.drawing import STYLE, DrawnStage, drawing
from tracing.whatif.report.table import COLUMNS, heading, interval, notes, row

SIZES = ["stage", "delay a step", "slope", "pairs of blocks"]


def html(answer: WhatIfAnswer, nesting: Sequence[str]) -> str:
    """The whole page; its title is the first line."""
    rows = [row(stage, answer.step_ns) for stage in answer.stages]
    drawn = [_drawn(stage, answer.step_ns) for stage in answer.stages]
    sections = [
        PageSection(
            "Time beside gain",
            "What a stage takes of a step, and what throughput would gain without it, at most, with its interval.",
            drawing(drawn, "tok/s without it, at most"),
        ),
        PageSection("Stages", heading(answer), htmlpage.table(COLUMNS, rows)),
        PageSection("Sizes", "The slope at each size of the delay.", htmlpage.table(SIZES, _sizes(answer.stages))),
    ]
    return htmlpage.page(answer.first_line(), sections, notes=notes(answer, nesting), style=STYLE)


def _drawn(stage: StageAnswer, step_ns: float) -> DrawnStage:
    gain = stage.gain(step_ns)
    return DrawnStage(stage.name, stage.time_ns, gain, f"{interval(gain, '+.1%')} tok/s")


def _sizes(stages: Sequence[StageAnswer]) -> list[list[str]]:
    return [
        [stage.name, us(size.achieved_ns), interval(size.slope), str(size.pairs)]
        for stage in stages
        for size in stage.slope.sizes
    ]
