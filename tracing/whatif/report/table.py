"""The answer as a table for a terminal, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from probes.console import show_text, table
from probes.statistics.intervals import Estimate
from tracing.whatif.answer import StageAnswer, WhatIfAnswer
from tracing.whatif.openanswer import OpenAnswer, OpenStageAnswer
from tracing.whatif.ratedstage import RatedStage
from tracing.whatif.report import rows
from tracing.whatif.slopes import SizedSlope

SCHEMA = 1


def show(out: Console, answer: WhatIfAnswer | OpenAnswer, nesting: Sequence[str]) -> None:
    """Print the answer: its first line, then a row a stage."""
    show_text(out, answer.first_line(), "bold")
    table(out, rows.heading(answer), rows.columns(answer), rows.rows(answer))
    for text in rows.notes(answer, nesting):
        show_text(out, text)


def as_json(answer: WhatIfAnswer | OpenAnswer) -> str:
    """The answer with every size; times in ns, the ends of intervals null where they are not known.

    `hidden_up_to_ns` is null where the answer does not bend; where it does its interval stands beside it. `asleep` is
    the largest delay once more, where a slope above 1 was to be given its reason. Under open
    arrivals `slope`, which is throughput's, is null, and TTFT, ITL and latency are there instead.
    """
    values: dict[str, Any] = {"schema": SCHEMA, "answer": answer.first_line(), "step_ns": answer.step_ns}
    if isinstance(answer, WhatIfAnswer):
        values |= {"streams": answer.streams, "stages": [stage_values(stage) for stage in answer.stages]}
    else:
        stages = [open_values(stage) for stage in answer.stages]
        values |= {"requests_per_s": answer.requests_per_s, "stages": stages}
    return json.dumps(values, indent=1)


def stage_values(stage: StageAnswer) -> dict[str, Any]:
    slope, up_to = stage.slope.slope, stage.slope.hidden_up_to_ns
    return {
        **_own(stage),
        "slope": slope.value,
        "lo": slope.low,
        "hi": slope.high,
        "hidden_up_to_ns": up_to and up_to.value,
        "hidden_up_to_lo_ns": up_to and up_to.low,
        "hidden_up_to_hi_ns": up_to and up_to.high,
        "sizes": [size_values(size) for size in stage.slope.sizes],
        "asleep": size_values(stage.asleep) if stage.asleep else None,
    }


def size_values(size: SizedSlope) -> dict[str, Any]:
    slope = size.slope
    own = {"achieved_ns": size.achieved_ns, "slope": slope.value, "lo": slope.low, "hi": slope.high}
    return own | {"pairs": size.pairs}


def open_values(stage: OpenStageAnswer) -> dict[str, Any]:
    none = dict.fromkeys(("slope", "lo", "hi", "hidden_up_to_ns"))
    effects = {"ttft": stage.ttft, "itl": stage.itl, "latency": stage.latency}
    return {**_own(stage), **none, **{name: _effect(effect) for name, effect in effects.items()}}


def _effect(effect: Estimate | None) -> dict[str, float | None] | None:
    return {"slope": effect.value, "lo": effect.low, "hi": effect.high} if effect else None


def _own(stage: RatedStage) -> dict[str, Any]:
    return {"stage": stage.name, "time_ns": stage.time_ns, "calls_per_step": stage.calls_per_step}
