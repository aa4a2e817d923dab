"""The answer under open arrivals: what a stage's delays do to TTFT, ITL and latency, and what its time would buy."""

from __future__ import annotations

from dataclasses import dataclass

from probes.console import us
from probes.statistics.intervals import Estimate
from tracing.whatif.ratedstage import MAY_DIFFER, RatedStage, cost_nothing, leader, through


@dataclass(frozen=True)
class OpenStageAnswer(RatedStage):
    """A stage, and by how much each outcome grows for a nanosecond of delay a step; an outcome is None where no block
    was long enough for it."""

    ttft: Estimate | None
    itl: Estimate | None
    latency: Estimate | None

    @property
    def effect(self) -> Estimate | None:
        """By how much ITL grows."""
        return self.itl

    @property
    def itl_gain(self) -> Estimate | None:
        """By how many nanoseconds ITL would be shorter without the stage, at most."""
        return through(self.itl, lambda effect: max(effect, 0.0) * self.time_ns) if self.itl else None


@dataclass(frozen=True)
class OpenAnswer:
    """What one engine said; `step_ns` is the usual wall time of a step while there is work."""

    step_ns: float
    requests_per_s: float
    stages: tuple[OpenStageAnswer, ...]
    left_out: str = ""
    wide: str = ""  # what would make wide intervals tell something
    nested: tuple[str, ...] = ()

    def first_line(self) -> str:
        """What throughput is, whose time would buy the most ITL, and who costs time and buys nothing."""
        arrivals = f"open arrivals ({self.requests_per_s:.1f} requests/s): throughput is what arrives, not a stage's"
        gains = [(stage, stage.itl_gain) for stage in self.stages if stage.itl_gain]
        best = leader(gains, self.step_ns, "moves ITL", lambda gain_ns: f"at most {us(gain_ns)} of each ITL")
        return f"{arrivals}; {best or 'no stage was seen to move ITL'}{cost_nothing(self.stages)}; {MAY_DIFFER}"
