"""The answer under open arrivals: what a stage's delays do to TTFT, ITL and latency, and what its time would buy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from probes.console import us
from probes.statistics.intervals import Estimate
from tracing.whatif.answer import MAY_DIFFER, NOTHING, cost_nothing


@dataclass(frozen=True)
class OpenStageAnswer:
    """A stage: its time in a step without delays, and by how much each outcome grows for a nanosecond of delay a step;
    an outcome is None where no block was long enough for it."""

    name: str
    time_ns: float
    calls_per_step: float
    ttft: Estimate | None
    itl: Estimate | None
    latency: Estimate | None

    @property
    def itl_gain(self) -> Estimate | None:
        """By how many nanoseconds ITL would be shorter without the stage, at most."""
        if self.itl is None:
            return None
        ends = (self.itl.value, self.itl.low, self.itl.high)
        value, low, high = (None if end is None else max(end, 0.0) * self.time_ns for end in ends)
        return Estimate(value or 0.0, low, high)

    @property
    def pays(self) -> bool:
        """Whether its interval lies above 0."""
        return self.itl is not None and self.itl.low is not None and self.itl.low > 0

    @property
    def buys_nothing(self) -> bool:
        """Whether its interval holds 0 and nothing that would be much."""
        if self.itl is None or self.itl.low is None or self.itl.high is None:
            return False
        return self.itl.low <= 0 and self.itl.high <= NOTHING


@dataclass(frozen=True)
class OpenAnswer:
    """What one engine said; `step_ns` is the usual wall time of a step while there is work."""

    step_ns: float
    requests_per_s: float
    stages: tuple[OpenStageAnswer, ...]
    left_out: str = ""

    def first_line(self) -> str:
        """What throughput is, whose time would buy the most ITL, and who costs time and buys nothing."""
        arrivals = f"open arrivals ({self.requests_per_s:.1f} requests/s): throughput is what arrives, not a stage's"
        return f"{arrivals}; {self._best_line()}{cost_nothing(self.stages)}; {MAY_DIFFER}"

    def _best_line(self) -> str:
        best = self.best
        if not best:
            return "no stage was seen to move ITL"
        words = f"{us(best[0].time_ns)} of a step of {us(self.step_ns)}, at most {us(_gain_ns(best[0]))} of each ITL"
        if len(best) == 1:
            return f"{best[0].name} moves ITL most: {words}"
        return f"{best[0].name} moves ITL most ({words}), not told apart from {_names(best[1:])}"

    @property
    def best(self) -> list[OpenStageAnswer]:
        """The stage that pays most; with others where the intervals do not tell them apart; none where none pays."""
        paying = sorted((stage for stage in self.stages if stage.pays), key=_gain_ns, reverse=True)
        return [stage for stage in paying if _end_ns(stage, "high") >= _end_ns(paying[0], "low")]


def _gain_ns(stage: OpenStageAnswer) -> float:
    return stage.itl_gain.value if stage.itl_gain else 0.0


def _end_ns(stage: OpenStageAnswer, end: str) -> float:
    return float(getattr(stage.itl_gain, end) or 0.0)


def _names(stages: Sequence[OpenStageAnswer]) -> str:
    return ", ".join(stage.name for stage in stages)
