"""The answer: what each stage takes of a step, what its delays did, and what its time would buy if it were gone."""

from __future__ import annotations

from dataclasses import dataclass

from probes.statistics.intervals import Estimate
from tracing.whatif.ratedstage import MAY_DIFFER, RatedStage, cost_nothing, leader, through
from tracing.whatif.slopes import SizedSlope, StageSlope, differ

MOST_OF_A_STEP = 0.95  # that is taken away, on paper
TWICE = 1.0  # of a larger gain it is only said that it is larger


def more_tokens(gain: float, digits: int = 0) -> str:
    """`+11%`; `over +100%` of a stage that is most of a step: before it is gone other work would take its place."""
    return f"{gain:+.{digits}%}" if gain <= TWICE else f"over {TWICE:+.0%}"


@dataclass(frozen=True)
class StageAnswer(RatedStage):
    """A stage with its slope; `asleep` is that at the largest delay if it holds the GIL asleep, where the slope was
    above 1 with one that spins."""

    slope: StageSlope
    asleep: SizedSlope | None = None

    @property
    def effect(self) -> Estimate:
        """By how much a step grows."""
        return self.slope.slope

    def gain(self, step_ns: float) -> Estimate:
        """By which share throughput would grow without the stage, at most: t of a step T at slope s buys
        1 / (1 - s t / T) - 1."""

        def of(slope: float) -> float:
            share = min(max(slope, 0.0) * self.time_ns / step_ns, MOST_OF_A_STEP)
            return 1 / (1 - share) - 1

        return through(self.effect, of)

    @property
    def costs_more(self) -> bool:
        """Whether a delay costs more than itself."""
        return (self.effect.low or 0) > 1

    @property
    def takes_processor(self) -> bool | None:
        """Whether a delay that spins costs more because it takes a processor from others: asleep it costs less. None
        where the two are not told apart."""
        if self.asleep is None:
            return None
        if differ(self.asleep.slope, self.slope.sizes[-1].slope):
            return self.asleep.slope.value < self.slope.sizes[-1].slope.value
        return False if (self.asleep.slope.low or 0) > 1 else None


@dataclass(frozen=True)
class WhatIfAnswer:
    """What one engine said; `step_ns` is the wall time of a step without delays."""

    step_ns: float
    streams: int
    stages: tuple[StageAnswer, ...]
    left_out: str = ""  # the delays that there was no time for, in a sentence
    nested: tuple[str, ...] = ()  # which stages hold others of them, a sentence each

    def first_line(self) -> str:
        """Who pays most, and who costs time and pays nothing."""
        gains = [(stage, stage.gain(self.step_ns)) for stage in self.stages]
        best = leader(gains, self.step_ns, "pays", _at_most) or "no stage was seen to pay"
        return f"{best}{cost_nothing(self.stages)}; {MAY_DIFFER}"


def _at_most(gain: float) -> str:
    return f"{'at most ' if gain <= TWICE else ''}{more_tokens(gain)} tok/s"
