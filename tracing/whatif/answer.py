"""The answer: what each stage takes of a step, what its delays did, and what its time would buy if it were gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from probes.console import us
from probes.statistics.intervals import Estimate
from tracing.whatif.slopes import SizedSlope, StageSlope, differ

NOTHING = 0.25  # the highest end of a slope's interval with which a stage is said to buy nothing
MAY_DIFFER = "one start of the engine: another may differ"
MOST_OF_A_STEP = 0.95  # that is taken away, on paper


@dataclass(frozen=True)
class StageAnswer:
    """A stage: its time in a step without delays, and its slope; `asleep` is that at the largest delay if it holds the
    GIL asleep, where the slope was above 1 with one that spins."""

    name: str
    time_ns: float
    calls_per_step: float
    slope: StageSlope
    asleep: SizedSlope | None = None

    def gain(self, step_ns: float) -> Estimate:
        """By which share throughput would grow without the stage, at most: t of a step T at slope s buys
        1 / (1 - s t / T) - 1."""

        def of(slope: float | None) -> float | None:
            if slope is None:
                return None
            share = min(max(slope, 0.0) * self.time_ns / step_ns, MOST_OF_A_STEP)
            return 1 / (1 - share) - 1

        estimate = self.slope.slope
        return Estimate(of(estimate.value) or 0.0, of(estimate.low), of(estimate.high))

    @property
    def pays(self) -> bool:
        """Whether its interval lies above 0."""
        low = self.slope.slope.low
        return low is not None and low > 0

    @property
    def buys_nothing(self) -> bool:
        """Whether its interval holds 0 and nothing that would be much."""
        low, high = self.slope.slope.low, self.slope.slope.high
        return low is not None and high is not None and low <= 0 and high <= NOTHING

    @property
    def costs_more(self) -> bool:
        """Whether a delay costs more than itself."""
        return (self.slope.slope.low or 0) > 1

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

    @property
    def best(self) -> list[StageAnswer]:
        """The stage that pays most; with others where the intervals do not tell them apart; none where none pays."""
        paying = sorted((stage for stage in self.stages if stage.pays), key=self._gain, reverse=True)
        return [stage for stage in paying if (stage.gain(self.step_ns).high or 0) >= (self._least(paying[0]))]

    def _gain(self, stage: StageAnswer) -> float:
        return stage.gain(self.step_ns).value

    def _least(self, stage: StageAnswer) -> float:
        return stage.gain(self.step_ns).low or 0.0

    def first_line(self) -> str:
        """Who pays most, and who costs time and pays nothing."""
        return f"{self._best_line()}{cost_nothing(self.stages)}; {MAY_DIFFER}"

    def _best_line(self) -> str:
        if not self.best:
            return "no stage was seen to pay"
        leader = self.best[0]
        gain = leader.gain(self.step_ns).value
        words = f"{us(leader.time_ns)} of a step of {us(self.step_ns)}, at most {gain:+.0%} tok/s"
        if len(self.best) == 1:
            return f"{leader.name} pays most: {words}"
        others = ", ".join(stage.name for stage in self.best[1:])
        return f"{leader.name} pays most ({words}), not told apart from {others}"


class CostlyStage(Protocol):
    """What is said of a stage that buys nothing."""

    @property
    def name(self) -> str: ...
    @property
    def time_ns(self) -> float: ...
    @property
    def buys_nothing(self) -> bool: ...


def cost_nothing(stages: Sequence[CostlyStage]) -> str:
    """`; update (0.20 ms) costs time and buys nothing`; '' where all buy something."""
    free = [f"{stage.name} ({us(stage.time_ns)})" for stage in stages if stage.buys_nothing]
    verbs = "cost time and buy nothing" if len(free) > 1 else "costs time and buys nothing"
    return f"; {', '.join(free)} {verbs}" if free else ""
