"""The answer as JSON: what it holds, and how it is filled."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from probes.statistics.intervals import Estimate
from tracing.whatif.answer import StageAnswer, WhatIfAnswer
from tracing.whatif.openanswer import OpenAnswer, OpenStageAnswer
from tracing.whatif.slopes import SizedSlope

SCHEMA = 1


@dataclass(frozen=True)
class ReportedEffect:
    """A slope and the ends of its interval, null where they are not known."""

    slope: float
    lo: float | None
    hi: float | None

    @classmethod
    def of(cls, effect: Estimate | None) -> ReportedEffect | None:
        return cls(effect.value, effect.low, effect.high) if effect else None


@dataclass(frozen=True)
class ReportedSize:
    """The slope at one size of delay."""

    achieved_ns: float
    slope: float
    lo: float | None
    hi: float | None
    pairs: int

    @classmethod
    def of(cls, size: SizedSlope) -> ReportedSize:
        return cls(size.achieved_ns, size.slope.value, size.slope.low, size.slope.high, size.pairs)


@dataclass(frozen=True)
class ReportedStage:
    """A stage with every size of delay.

    `hidden_up_to_ns` is null where the answer does not bend; where it does its interval stands beside it. `asleep` is
    the largest delay once more, where a slope above 1 was to be given its reason.
    """

    stage: str
    time_ns: float
    calls_per_step: float
    slope: float
    lo: float | None
    hi: float | None
    hidden_up_to_ns: float | None
    hidden_up_to_lo_ns: float | None
    hidden_up_to_hi_ns: float | None
    sizes: tuple[ReportedSize, ...]
    asleep: ReportedSize | None

    @classmethod
    def of(cls, stage: StageAnswer) -> ReportedStage:
        slope, up_to = stage.slope.slope, stage.slope.hidden_up_to_ns
        return cls(
            stage=stage.name,
            time_ns=stage.time_ns,
            calls_per_step=stage.calls_per_step,
            slope=slope.value,
            lo=slope.low,
            hi=slope.high,
            hidden_up_to_ns=up_to.value if up_to else None,
            hidden_up_to_lo_ns=up_to.low if up_to else None,
            hidden_up_to_hi_ns=up_to.high if up_to else None,
            sizes=tuple(map(ReportedSize.of, stage.slope.sizes)),
            asleep=ReportedSize.of(stage.asleep) if stage.asleep else None,
        )


@dataclass(frozen=True)
class ReportedOpenStage:
    """A stage under open arrivals: its `slope`, which is throughput's, is null; TTFT, ITL and latency are there."""

    stage: str
    time_ns: float
    calls_per_step: float
    slope: None
    lo: None
    hi: None
    hidden_up_to_ns: None
    ttft: ReportedEffect | None
    itl: ReportedEffect | None
    latency: ReportedEffect | None

    @classmethod
    def of(cls, stage: OpenStageAnswer) -> ReportedOpenStage:
        effects = map(ReportedEffect.of, (stage.ttft, stage.itl, stage.latency))
        return cls(stage.name, stage.time_ns, stage.calls_per_step, None, None, None, None, *effects)


@dataclass(frozen=True)
class WhatIfReport:
    schema: int
    answer: str
    step_ns: float
    streams: int
    stages: tuple[ReportedStage, ...]


@dataclass(frozen=True)
class OpenReport:
    schema: int
    answer: str
    step_ns: float
    requests_per_s: float
    stages: tuple[ReportedOpenStage, ...]


def report(answer: WhatIfAnswer | OpenAnswer) -> WhatIfReport | OpenReport:
    """What is written of an answer; times in ns."""
    line, step_ns = answer.first_line(), answer.step_ns
    if isinstance(answer, WhatIfAnswer):
        return WhatIfReport(SCHEMA, line, step_ns, answer.streams, tuple(map(ReportedStage.of, answer.stages)))
    return OpenReport(SCHEMA, line, step_ns, answer.requests_per_s, tuple(map(ReportedOpenStage.of, answer.stages)))


def as_json(answer: WhatIfAnswer | OpenAnswer) -> str:
    """The answer with every size."""
    return json.dumps(asdict(report(answer)), indent=1)
