"""The knee: the highest rate that a variant sustains, as a bracket *[sustained, not sustained]*."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from offline.traffic.backlog import NOT_SUSTAINED, SUSTAINED, UNDECIDED, Backlog, needed_requests

WIDTH = 0.10  # of the upper end: a bracket as wide as this is narrow enough
LOWER = 0.905  # of the upper end, where the lower one is looked for
ABOVE, NEAR = 1.05, 1.06  # times the capacity: where the upper end is looked for, and below which one will do
SAME = 0.02  # rates that are nearer each other are one
MOST_REQUESTS = 16  # times as many as *sustained* needs
RESERVE = 1.25  # times the needed requests: the scatter of a schedule is not known before it is made
SHORT = 4  # an overload shows with so many times fewer
STEP = 4.0  # from rate to rate while nothing is too much
LITTLE = 1 / 8  # of what arrived: an overload that lets less through tells the capacity badly
OVERLOAD = 1.2  # times a rough capacity, at which it is measured
DOWN = 0.85  # of a rate that is too near the capacity to be called sustained


@dataclass(frozen=True)
class RateTrial:
    """One rate that was tried with so many requests, the verdict of `Backlog`, and how many it completed meanwhile."""

    rate_req_s: float
    requests: int
    verdict: str = ""
    served_req_s: float = 0.0

    def judged(self, backlog: Backlog) -> RateTrial:
        """The same with what its backlog says."""
        return replace(self, verdict=backlog.verdict, served_req_s=self.rate_req_s * backlog.served_share)


@dataclass(frozen=True)
class Bracket:
    """The highest rate that was sustained below the lowest that was not; None where there is none."""

    low_req_s: float | None
    high_req_s: float | None

    @property
    def width(self) -> float:
        """Its width over its upper end; infinite while an end is open."""
        if self.low_req_s is None or self.high_req_s is None:
            return math.inf
        return 1 - self.low_req_s / self.high_req_s

    @property
    def sentence(self) -> str:
        """`sustained at 4.1 req/s, not at 4.4 (7% wide)`, or which end is open."""
        if self.low_req_s is None and self.high_req_s is None:
            return "no rate could be judged sustained or not"
        if self.low_req_s is None:
            return f"no rate was found to be sustained; {self.high_req_s:.3g} req/s was not"
        if self.high_req_s is None:
            return f"sustained at {self.low_req_s:.3g} req/s, the highest rate that could be judged"
        return f"sustained at {self.low_req_s:.3g} req/s, not at {self.high_req_s:.3g} ({self.width:.0%} wide)"


def bracket(trials: Sequence[RateTrial]) -> Bracket:
    """The bracket of some trials.

    Of rates that contradict each other the lower *not sustained* holds: *sustained* is only believed below it.
    """
    high = min((each.rate_req_s for each in trials if each.verdict == NOT_SUSTAINED), default=None)
    below = [each.rate_req_s for each in trials if each.verdict == SUSTAINED]
    low = max((rate for rate in below if high is None or rate < high), default=None)
    return Bracket(low, high)


def least_requests(scatter: float) -> int:
    """The requests of a first trial at a rate, whose arrivals scatter so."""
    return round(RESERVE * needed_requests(scatter))


def short_requests(scatter: float) -> int:
    """Those of a trial that shows whether a rate is far too high: `sustained` takes more."""
    return least_requests(scatter) // SHORT


def most_requests(scatter: float) -> int:
    """The requests of the longest trial."""
    return MOST_REQUESTS * least_requests(scatter)


def next_trial(trials: Sequence[RateTrial], start_req_s: float, scatter: float = 1.0) -> RateTrial | None:
    """What to try next (without a verdict), or None where the bracket is narrow enough or cannot become narrower.

    An overload shows soon, and how much it lets through is the capacity, which saves the way up to it: *sustained*
    takes many requests, and a slow rate much time.

    | so far                                | next                                                                   |
    | ------------------------------------- | ---------------------------------------------------------------------- |
    | nothing                               | `start_req_s`, shortly                                                 |
    | none that was not sustained           | four times the highest, shortly                                        |
    | one that let hardly anything through  | a quarter of it, shortly                                               |
    | a short one that was not              | 1.2 times what was completed meanwhile, or of a rate that was borne    |
    | a long one that was not               | just above and just below the capacity, the one with fewer requests so |
    |                                       | far first, each time with twice as many                                |
    | none sustained, one below undecided   | 0.85 of it                                                             |
    """
    least, short, now = least_requests(scatter), short_requests(scatter), bracket(trials)
    if now.width <= WIDTH:
        return None
    if now.high_req_s is None:
        highest = max((each.rate_req_s for each in trials), default=start_req_s / STEP)
        return RateTrial(highest * STEP, short)
    overloads = [each for each in trials if each.verdict == NOT_SUSTAINED]
    if all(each.requests < least for each in overloads):
        return _measuring(trials, overloads[-1], least, short)
    return _beside(trials, now, _capacity([each for each in overloads if each.requests >= least], now), least)


def _measuring(trials: Sequence[RateTrial], overload: RateTrial, least: int, short: int) -> RateTrial:
    """A trial for the capacity after a short one, above all that was not too much."""
    borne = max((each.rate_req_s for each in trials if each.verdict != NOT_SUSTAINED), default=0.0)
    if overload.served_req_s < LITTLE * overload.rate_req_s and borne < overload.rate_req_s / STEP:
        return RateTrial(overload.rate_req_s / STEP, short)
    return RateTrial(OVERLOAD * max(overload.served_req_s, borne), least)


def _capacity(overloads: Sequence[RateTrial], now: Bracket) -> float:
    """What was completed under overload, each trial by its requests; above what was sustained."""
    served = sum(each.served_req_s * each.requests for each in overloads) / sum(each.requests for each in overloads)
    return max(served, (now.low_req_s or 0.0) * (1 + SAME))


def _beside(trials: Sequence[RateTrial], now: Bracket, capacity: float, least: int) -> RateTrial | None:
    """The next trial for the upper or the lower end, beside a capacity that is roughly known."""
    below = [each.rate_req_s for each in trials if each.verdict == UNDECIDED and each.requests >= least]
    below = [rate for rate in below if rate < capacity]
    if now.low_req_s is None and below:
        return RateTrial(DOWN * min(below), least)
    assert now.high_req_s is not None
    is_near = now.high_req_s <= NEAR * capacity
    upper = now.high_req_s if is_near else ABOVE * capacity
    is_low = (now.low_req_s or 0.0) < (1 - WIDTH) * upper
    rates = [LOWER * upper] * is_low + [upper] * (not is_near)
    wanted = [RateTrial(rate, _more_requests(trials, rate, least)) for rate in rates]
    possible = [each for each in wanted if each.requests <= MOST_REQUESTS * least]
    return min(possible, key=lambda each: each.requests, default=None)


def _more_requests(trials: Sequence[RateTrial], rate_req_s: float, least: int) -> int:
    """Twice as many as this rate was tried with."""
    tried = [each.requests for each in trials if abs(each.rate_req_s / rate_req_s - 1) < SAME]
    return max(least, 2 * max(tried, default=0))
