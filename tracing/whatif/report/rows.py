"""The rows of both kinds of answer, and how they are read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from probes.console import us
from probes.statistics.intervals import Estimate
from tracing.whatif.answer import StageAnswer, WhatIfAnswer, more_tokens
from tracing.whatif.openanswer import OpenAnswer, OpenStageAnswer

COLUMNS = ["stage", "time a step", "calls", "slope", "hidden up to", "tok/s without it, at most"]
OPEN_COLUMNS = ["stage", "time a step", "calls", "TTFT", "ITL", "latency", "ITL shorter without it by at most"]
READING = (
    "slope: how much of a delay a step grows by; 1: each microsecond counts, 0: it is hidden. Where hiding ends a "
    "stage has two slopes, and a delay tells only the slower side. More than twice the tok/s is not foretold."
)
OPEN_READING = "TTFT, ITL, latency: how much each grows per unit of delay in every step; n/a: no block was long enough."
AFTER_A_PAUSE = "work takes longer after a pause, as a model's on a CPU does"
ABOVE_ONE = {  # by `StageAnswer.takes_processor`
    True: "a spin takes a processor from other processes too",
    False: f"not for a processor that a spin takes: {AFTER_A_PAUSE}, or what waits for it or the GIL is late by more",
    None: "which is not told apart from the spin: more --budget may",
}
NO_SPIN = f"its delay takes no processor from others: {AFTER_A_PAUSE}, or what waits for it is late by more"


def interval(estimate: Estimate | None, form: Callable[[float], str] = "{:.2f}".format) -> str:
    """`1.02 [0.97, 1.08]`; the interval is n/a where there were too few pairs."""
    if estimate is None:
        return "n/a"
    if estimate.low is None or estimate.high is None:
        return f"{form(estimate.value)} [n/a]"
    return f"{form(estimate.value)} [{form(estimate.low)}, {form(estimate.high)}]"


def gain_interval(gain: Estimate) -> str:
    """`+11.1% [+9.9%, +12.4%]`."""
    return interval(gain, partial(more_tokens, digits=1))


def time_interval(estimate: Estimate | None) -> str:
    """`1.80 ms [1.60 ms, 2.00 ms]` of nanoseconds."""
    if estimate is None:
        return "n/a"
    known = estimate.low is not None and estimate.high is not None
    return us(estimate.value) + (f" [{us(estimate.low)}, {us(estimate.high)}]" if known else "")


def hidden(stage: StageAnswer) -> str:
    """Up to where delays were hidden."""
    up_to = stage.slope.hidden_up_to_ns
    if up_to is not None:
        return time_interval(up_to)
    return f"at least {us(stage.slope.sizes[-1].achieved_ns)}" if stage.buys_nothing else ""


def row(stage: StageAnswer, step_ns: float) -> list[str]:
    """The cells of `COLUMNS`."""
    own = [stage.name, us(stage.time_ns), f"{stage.calls_per_step:g}"]
    return [*own, interval(stage.slope.slope), hidden(stage), gain_interval(stage.gain(step_ns))]


def open_row(stage: OpenStageAnswer) -> list[str]:
    """The cells of `OPEN_COLUMNS`."""
    effects = [interval(effect) for effect in (stage.ttft, stage.itl, stage.latency)]
    return [stage.name, us(stage.time_ns), f"{stage.calls_per_step:g}", *effects, time_interval(stage.itl_gain)]


def columns(answer: WhatIfAnswer | OpenAnswer) -> list[str]:
    """The table's heads."""
    return COLUMNS if isinstance(answer, WhatIfAnswer) else OPEN_COLUMNS


def rows(answer: WhatIfAnswer | OpenAnswer) -> list[list[str]]:
    """A row a stage."""
    if isinstance(answer, WhatIfAnswer):
        return [row(stage, answer.step_ns) for stage in answer.stages]
    return [open_row(stage) for stage in answer.stages]


def heading(answer: WhatIfAnswer | OpenAnswer) -> str:
    """What the rows are about."""
    if isinstance(answer, WhatIfAnswer):
        together = "all intervals hold together in 95 of 100 runs"
        return f"a step of {us(answer.step_ns)}, {answer.streams} streams; {together}"
    together = "the intervals of a column hold together in 95 of 100 runs"
    return f"a step of {us(answer.step_ns)}, {answer.requests_per_s:.1f} requests/s; {together}"


def notes(answer: WhatIfAnswer | OpenAnswer) -> list[str]:
    """How to read the rows, and what is to be known of some of them."""
    sentences = [*answer.nested, *([answer.left_out] if answer.left_out else [])]
    if isinstance(answer, OpenAnswer):
        return [OPEN_READING, *sentences, *([answer.wide] if answer.wide else [])]
    return [READING, *sentences, *(above_one(stage) for stage in answer.stages if stage.costs_more)]


def above_one(stage: StageAnswer) -> str:
    """Why a stage's delays cost more than themselves, as far as that is known."""
    costs = f"{stage.name} costs more than its delay"
    if stage.asleep is None:
        return f"{costs}: {NO_SPIN}"
    return f"{costs}; asleep the delay costs {interval(stage.asleep.slope)}: {ABOVE_ONE[stage.takes_processor]}"
