"""The knee: the highest rate that a variant sustains, as a bracket *[sustained, not sustained]*."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from offline.traffic.backlog import NOT_SUSTAINED, SUSTAINED, UNDECIDED, needed_requests

WIDTH = 0.10  # of the upper end: a bracket as wide as this is narrow enough
FINEST = 0.06  # rates that are nearer each other are not told apart by trying both
MOST_REQUESTS = 16  # times as many as *sustained* needs
RESERVE = 1.25  # times the needed requests: the scatter of a schedule is not known before it is made
STEP = 2.0  # from rate to rate while one end is open


@dataclass(frozen=True)
class RateTrial:
    """One rate that was tried with so many requests, and the verdict of `Backlog`."""

    rate_req_s: float
    requests: int
    verdict: str


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


def most_requests(scatter: float) -> int:
    """The requests of the longest trial."""
    return MOST_REQUESTS * least_requests(scatter)


def next_trial(trials: Sequence[RateTrial], start_req_s: float, scatter: float = 1.0) -> RateTrial | None:
    """What to try next (its verdict is empty), or None where the bracket is narrow enough or cannot become narrower.

    | so far                                  | next                                              |
    | --------------------------------------- | ------------------------------------------------- |
    | nothing                                 | `start_req_s`                                     |
    | none that was not sustained             | twice the highest                                 |
    | none that was sustained                 | half the lowest                                   |
    | a bracket                               | the middle of the wider gap beside an end         |
    | rates all along it, some undecided      | the middle one of those, with twice the requests  |
    """
    least = least_requests(scatter)
    now = bracket(trials)
    if not trials:
        return RateTrial(start_req_s, least, "")
    if now.width <= WIDTH:
        return None
    if now.high_req_s is None:
        return RateTrial(max(each.rate_req_s for each in trials) * STEP, least, "")
    if now.low_req_s is None:
        return RateTrial(min(each.rate_req_s for each in trials) / STEP, least, "")
    return _inside(trials, now.low_req_s, now.high_req_s, least)


def _inside(trials: Sequence[RateTrial], low: float, high: float, least: int) -> RateTrial | None:
    """What to try between the ends: first new rates beside them, then undecided ones again."""
    undecided = sorted({e.rate_req_s for e in trials if e.verdict == UNDECIDED and low < e.rate_req_s < high})
    rates = [low, *undecided, high]
    lower, upper = max((rates[:2], rates[-2:]), key=lambda gap: gap[1] / gap[0])
    if upper / lower > 1 + FINEST:
        return RateTrial(math.sqrt(lower * upper), least, "")
    middle = undecided[len(undecided) // 2]
    tried = max(each.requests for each in trials if each.rate_req_s == middle)
    return RateTrial(middle, 2 * tried, "") if 2 * tried <= MOST_REQUESTS * least else None
