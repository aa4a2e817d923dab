"""What a load run is asked to do: a frozen `LoadSpec` from the command line, refused where it cannot be run."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

from offline.load.planning.arrivals import KINDS, POISSON, RECORDED
from offline.spec.effort import duration
from probes.errors import usage_error

SLO_NAMES = ("ttft", "tpot", "e2e")


@dataclass(frozen=True)
class LoadSpec:
    """One run, as asked. Times are seconds; `rates` may be empty where the knee is searched or a recording replayed."""

    model: str = ""
    load_format: str = "auto"
    workload: str = "alpaca"
    rates: tuple[float, ...] = ()
    duration_s: float = 60.0
    arrivals: str = POISSON
    burstiness: float = 1.0
    variants: tuple[str, ...] = ()
    starts: int = 1
    seed: int = 0
    budget_s: float | None = None
    base_url: str = ""
    knee: bool = False
    parallel: bool = False  # a start on each card at a time
    slo_s: dict[str, float] = field(default_factory=dict)  # ttft, tpot, e2e

    def __post_init__(self) -> None:
        has_rates = self.rates or self.knee or self.arrivals == RECORDED
        if not has_rates or any(not 0 < rate < float("inf") for rate in self.rates):
            raise usage_error(f"--rates takes rates above 0, not {', '.join(map(str, self.rates)) or 'none'}")
        if len(set(self.rates)) != len(self.rates):
            raise usage_error(f"--rates names one twice: {', '.join(f'{rate:g}' for rate in self.rates)}")
        for name, value in (("duration", self.duration_s), ("burstiness", self.burstiness), ("starts", self.starts)):
            if not 0 < value < float("inf"):
                raise usage_error(f"--{name} must be more than 0, not {value:g}")
        if self.arrivals not in KINDS:
            raise usage_error(f"--arrivals is one of {', '.join(KINDS)}, not {self.arrivals!r}")

    @property
    def drain_s(self) -> float:
        """How long requests that still run may go on after a rate's duration; then they count as unfinished."""
        return max(5.0, self.duration_s / 2)


def numbers(text: str) -> tuple[float, ...]:
    """argparse type: `1,2.5,10`."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers with commas between them, not {text!r}") from None


def names(text: str) -> tuple[str, ...]:
    """argparse type: `vllm-page,vllm-all-opt`."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def objectives(text: str) -> dict[str, float]:
    """argparse type: `ttft=500ms,tpot=0.1s` as seconds by name."""
    objectives_s = {}
    for part in names(text):
        name, equals, value = part.partition("=")
        if name not in SLO_NAMES or not equals:
            raise argparse.ArgumentTypeError(f"expected {'=…, '.join(SLO_NAMES)}=…, not {part!r}")
        objectives_s[name] = duration(value)
    return objectives_s
