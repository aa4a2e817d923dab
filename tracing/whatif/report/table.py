"""The answer as a table for a terminal, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from probes.console import show_text, table, us
from probes.statistics.intervals import Estimate
from tracing.whatif.answer import StageAnswer, WhatIfAnswer
from tracing.whatif.slopes import SizedSlope

SCHEMA = 1
COLUMNS = ["stage", "time a step", "calls", "slope", "hidden up to", "without it, at most"]
READING = (
    "slope: how much of a delay a step grows by; 1: each microsecond counts, 0: it is hidden. Where hiding ends a "
    "stage has two slopes, and a delay tells only the slower side."
)

ABOVE_ONE = (
    "costs more than its delay: what spins takes a processor, and the GIL of its process, from others as well; "
    "--asleep leaves the processor to them"
)


def interval(estimate: Estimate, form: str = ".2f") -> str:
    """`1.02 [0.97, 1.08]`; the interval is n/a where there were too few pairs."""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:{form}} [n/a]"
    return f"{estimate.value:{form}} [{estimate.low:{form}}, {estimate.high:{form}}]"


def hidden(stage: StageAnswer) -> str:
    """Up to where delays were hidden."""
    up_to = stage.slope.hidden_up_to_ns
    if up_to is not None:
        ends = f" [{us(up_to.low)}, {us(up_to.high)}]" if up_to.low is not None and up_to.high is not None else ""
        return f"{us(up_to.value)}{ends}"
    return f"at least {us(stage.slope.sizes[-1].achieved_ns)}" if stage.buys_nothing else ""


def row(stage: StageAnswer, step_ns: float) -> list[str]:
    gain = stage.gain(step_ns)
    return [
        stage.name,
        us(stage.time_ns),
        f"{stage.calls_per_step:g}",
        interval(stage.slope.slope),
        hidden(stage),
        f"{interval(gain, '+.1%')} tok/s",
    ]


def heading(answer: WhatIfAnswer) -> str:
    """What the rows are about."""
    return f"a step of {us(answer.step_ns)}, {answer.streams} streams; all intervals hold together in 95 of 100 runs"


def notes(answer: WhatIfAnswer, nesting: Sequence[str]) -> list[str]:
    """How to read the rows, and what is to be known of some of them."""
    above = ", ".join(stage.name for stage in answer.stages if (stage.slope.slope.low or 0) > 1)
    return [READING, *nesting, *([f"{above} {ABOVE_ONE}"] if above else [])]


def show(out: Console, answer: WhatIfAnswer, nesting: Sequence[str]) -> None:
    """Print the answer: its first line, then a row a stage."""
    show_text(out, answer.first_line(), "bold")
    table(out, heading(answer), COLUMNS, [row(stage, answer.step_ns) for stage in answer.stages])
    for text in notes(answer, nesting):
        show_text(out, text)


def as_json(answer: WhatIfAnswer) -> str:
    """The answer with every size; times in ns, the ends of intervals null where they are not known.

    `hidden_up_to_ns` is null where the answer does not bend; where it does its interval stands beside it.
    """
    stages = [stage_values(stage) for stage in answer.stages]
    values = {"schema": SCHEMA, "answer": answer.first_line(), "step_ns": answer.step_ns, "streams": answer.streams}
    return json.dumps(values | {"stages": stages}, indent=1)


def stage_values(stage: StageAnswer) -> dict[str, Any]:
    slope, up_to = stage.slope.slope, stage.slope.hidden_up_to_ns
    return {
        "stage": stage.name,
        "time_ns": stage.time_ns,
        "calls_per_step": stage.calls_per_step,
        "slope": slope.value,
        "lo": slope.low,
        "hi": slope.high,
        "hidden_up_to_ns": up_to and up_to.value,
        "hidden_up_to_lo_ns": up_to and up_to.low,
        "hidden_up_to_hi_ns": up_to and up_to.high,
        "sizes": [size_values(size) for size in stage.slope.sizes],
    }


def size_values(size: SizedSlope) -> dict[str, Any]:
    return {
        "achieved_ns": size.achieved_ns,
        "slope": size.slope.value,
        "lo": size.slope.low,
        "hi": size.slope.high,
        "pairs": size.pairs,
    }
