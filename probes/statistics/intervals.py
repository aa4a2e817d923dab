"""A figure with its interval, and the interval of a share."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.stats import binomtest

TAIL = 0.025
NONE_SEEN = "no difference seen"  # where the interval of a difference holds none


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; an end that the sample cannot give is None."""

    value: float
    low: float | None
    high: float | None


def wilson(successes: int, total: int) -> Estimate | None:
    """A share and its Wilson score interval (E. B. Wilson, 1927); None where nothing was tried."""
    if total <= 0:
        return None
    share = successes / total
    interval = binomtest(successes, total).proportion_ci(1 - 2 * TAIL, method="wilson")
    return Estimate(share, min(float(interval.low), share), max(float(interval.high), share))


def ratio(over: Estimate, under: Estimate) -> Estimate | None:
    """One independent figure over another, with its interval; None where either is not above 0.

    The distances of the ends from the figures are recovered and added in squares, on logarithms (G. Zou and A. Donner,
    2008). An end that needs an open end, or one at or below 0, is open.

    | over           | under          | ratio              |
    | -------------- | -------------- | ------------------ |
    | 2 [1, 4]       | 1 [1, 1]       | 2 [1, 4]           |
    | 2 [1, 4]       | 1 [0.5, 2]     | 2 [0.75, 5.33]     |
    | 2 [1, -]       | 1 [0.5, 2]     | 2 [0.75, -]        |
    """
    if over.value <= 0 or under.value <= 0:
        return None
    value = over.value / under.value
    down = _distance(_apart(over.value, over.low), _apart(under.value, under.high))
    up = _distance(_apart(over.value, over.high), _apart(under.value, under.low))
    return Estimate(value, _scaled(value, down, -1), _scaled(value, up, 1))


def _distance(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else math.hypot(one, other)


def _scaled(value: float, distance: float | None, sign: int) -> float | None:
    return None if distance is None else value * math.exp(sign * distance)


def _apart(value: float, end: float | None) -> float | None:
    """How far an end is from the value, in logarithms."""
    return abs(math.log(end / value)) if end is not None and end > 0 else None
