"""The time of a load run: what its parts should take, and which of them its budget holds."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from offline.load.planning.spec import LoadSpec
from offline.load.records import MeasuredRate
from offline.variants.cards import starts_at_once
from offline.variants.variant import SERVER, SPLIT, TORCH, VLLM, Variant
from probes.errors import usage_error

# A start, its warm-up and its stop, for the estimate only.
START_S = {VLLM: 40.0, SPLIT: 80.0, TORCH: 15.0, SERVER: 5.0}
TRIAL_DRAIN_S = 5.0  # after a search's trial, whose verdict looks at what happened while requests arrived
OVERLOAD = 0.1  # of the requests unfinished at the end: such a rate is too high, for the budget's choice only
FAR = 2.0  # times such a rate: what is left out first where the budget ends
SPENT = "the budget is spent"

Rates = list[float | None]  # None: one request at a time


@dataclass
class Budget:
    """What is left of it; `deadline_s` is its end, of `time.monotonic`, infinity where there is none."""

    spec: LoadSpec
    deadline_s: float = math.inf
    overloaded: dict[str, float] = field(default_factory=dict)  # by variant, the lowest rate that was too high

    def holds(self, seconds: float) -> bool:
        """Whether so many seconds are left."""
        return seconds <= self.deadline_s - time.monotonic()

    def choice(self, variant: Variant, rates: Rates) -> tuple[Rates, list[tuple[Rates, str]]]:
        """Of a start's rates those that there is time for, and those left out, with why.

        The first to go are those far above what the variant keeps up with.
        """
        if not rates or self.holds(start_s(self.spec, variant, rates)):
            return rates, []
        highest = FAR * self.overloaded.get(variant.name, math.inf)
        near = [rate for rate in rates if rate is None or rate < highest]
        exclusions = [([rate for rate in rates if rate not in near], "far above what it keeps up with")]
        if near and self.holds(start_s(self.spec, variant, near)):
            return near, exclusions
        return [], [*exclusions, (near, SPENT)]

    def share_end_s(self, starts: int, places: int) -> float:
        """When a search has to end, so that each of the `starts` to come, itself included, has as much."""
        now_s = time.monotonic()
        return now_s + (self.deadline_s - now_s) * starts_at_once(starts, places) / starts

    def note(self, rate: MeasuredRate) -> None:
        """Learn from a level whether its rate was too high."""
        if rate.rate_req_s is not None and rate.unfinished > OVERLOAD * rate.sent:
            lowest = self.overloaded.get(rate.variant, rate.rate_req_s)
            self.overloaded[rate.variant] = min(lowest, rate.rate_req_s)


def level_s(spec: LoadSpec, rate: float | None) -> float:
    """Seconds that a level should take."""
    return spec.duration_s + (spec.drain_s / 2 if rate else 0.0)


def start_s(spec: LoadSpec, variant: Variant, rates: Iterable[float | None]) -> float:
    """Seconds that a start with these rates should take."""
    return START_S[variant.form] + sum(level_s(spec, rate) for rate in rates)


def rounds_s(spec: LoadSpec, variants: Sequence[Variant], starts: int, places: int) -> float:
    """Seconds that so many starts of each variant should take, one by one or in several places: an estimate."""
    rates = () if spec.knee else spec.rates  # how long a search takes is not known beforehand
    seconds = sum(start_s(spec, variant, (None, *rates)) for variant in variants)
    return starts * seconds / starts_at_once(starts * len(variants), places)


def refuse_over_budget(spec: LoadSpec, variants: Sequence[Variant], places: int) -> None:
    """Refuse a budget that has no time for one start of each variant."""
    seconds = rounds_s(spec, variants, 1, places)
    if spec.budget_s and seconds > spec.budget_s:
        raise usage_error(
            f"one start of each variant takes some {seconds / 60:.0f} min, which is over --budget: "
            "name fewer --rates or --variants, or a shorter --duration"
        )
