"""The answer as a page that works from disk: time beside gain, the table, and the slope at each size."""

from __future__ import annotations

from collections.abc import Sequence

from probes import htmlpage
from probes.console import us
from probes.htmlpage import PageSection
from tracing.whatif.answer import TWICE, StageAnswer, WhatIfAnswer
from tracing.whatif.openanswer import OpenAnswer
from tracing.whatif.ratedstage import through
from tracing.whatif.report import rows
from tracing.whatif.report.drawing import STYLE, DrawnStage, drawing

SIZES = ["stage", "delay a step", "slope", "pairs of blocks"]


def html(answer: WhatIfAnswer | OpenAnswer) -> str:
    """The whole page; its title is the first line."""
    sections = [
        _gains(answer) if isinstance(answer, WhatIfAnswer) else _open_gains(answer),
        PageSection("Stages", rows.heading(answer), htmlpage.table(rows.columns(answer), rows.rows(answer))),
    ]
    if isinstance(answer, WhatIfAnswer):
        sizes = htmlpage.table(SIZES, _sizes(answer.stages))
        sections.append(PageSection("Sizes", "The slope at each size of the delay.", sizes))
    return htmlpage.page(answer.first_line(), sections, notes=rows.notes(answer), style=STYLE)


def _gains(answer: WhatIfAnswer) -> PageSection:
    gains = [(stage, stage.gain(answer.step_ns)) for stage in answer.stages]
    drawn = [
        DrawnStage(stage.name, stage.time_ns, through(gain, up_to_twice), f"{rows.gain_interval(gain)} tok/s")
        for stage, gain in gains
    ]
    about = "What a stage takes of a step, and what throughput would gain without it, at most, with its interval."
    return PageSection("Time beside gain", about, drawing(drawn, "tok/s without it, at most"))


def up_to_twice(gain: float) -> float:
    """As far as gains are drawn."""
    return min(gain, TWICE)


def _open_gains(answer: OpenAnswer) -> PageSection:
    drawn = [
        DrawnStage(stage.name, stage.time_ns, stage.itl_gain, f"{rows.time_interval(stage.itl_gain)} of each ITL")
        for stage in answer.stages
        if stage.itl_gain
    ]
    about = "What a stage takes of a step, and by how much ITL would be shorter without it, at most, with its interval."
    return PageSection("Time beside gain", about, drawing(drawn, "ITL shorter without it by at most"))


def _sizes(stages: Sequence[StageAnswer]) -> list[list[str]]:
    return [
        [stage.name, us(size.achieved_ns), rows.interval(size.slope), str(size.pairs)]
        for stage in stages
        for size in stage.slope.sizes
    ]
