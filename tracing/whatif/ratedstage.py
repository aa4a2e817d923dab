"""A stage by what its delays did: whether its time pays, and which of several pays most, as far as intervals tell."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from probes.console import us
from probes.statistics.intervals import Estimate

NOTHING = 0.25  # the highest end of an effect's interval with which a stage is said to buy nothing
MAY_DIFFER = "one start of the engine: another may differ"


@dataclass(frozen=True)
class RatedStage(ABC):
    """A stage and its time in a step without delays."""

    name: str
    time_ns: float
    calls_per_step: float

    @property
    @abstractmethod
    def effect(self) -> Estimate | None:
        """By how much what counts grows for a nanosecond of delay; None where that is not known."""

    @property
    def pays(self) -> bool:
        """Whether its interval lies above 0."""
        return self.effect is not None and self.effect.low is not None and self.effect.low > 0

    @property
    def buys_nothing(self) -> bool:
        """Whether its interval holds 0 and nothing that would be much."""
        if self.effect is None or self.effect.low is None or self.effect.high is None:
            return False
        return self.effect.low <= 0 and self.effect.high <= NOTHING


def through(estimate: Estimate, function: Callable[[float], float]) -> Estimate:
    """A figure and its ends, put through a function that grows."""
    low, high = (None if end is None else function(end) for end in (estimate.low, estimate.high))
    return Estimate(function(estimate.value), low, high)


def leader(
    gains: Sequence[tuple[RatedStage, Estimate]], step_ns: float, verb: str, form: Callable[[float], str]
) -> str:
    """Which of some stages, each with what its time would buy, pays most, and which are not told apart from it; ''
    where none pays."""
    paying = sorted((each for each in gains if each[0].pays), key=lambda each: each[1].value, reverse=True)
    if not paying:
        return ""
    (first, most), *others = paying
    words = f"{us(first.time_ns)} of a step of {us(step_ns)}, {form(most.value)}"
    equal = [stage.name for stage, gain in others if (gain.high or 0.0) >= (most.low or 0.0)]
    if not equal:
        return f"{first.name} {verb} most: {words}"
    return f"{first.name} {verb} most ({words}), not told apart from {', '.join(equal)}"


def cost_nothing(stages: Sequence[RatedStage]) -> str:
    """`; update (0.20 ms) costs time and buys nothing`; '' where all buy something."""
    free = [f"{stage.name} ({us(stage.time_ns)})" for stage in stages if stage.buys_nothing]
    verbs = "cost time and buy nothing" if len(free) > 1 else "costs time and buys nothing"
    return f"; {', '.join(free)} {verbs}" if free else ""
