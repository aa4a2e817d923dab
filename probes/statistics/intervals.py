"""A figure with its interval, and the interval of a share."""

from __future__ import annotations

from dataclasses import dataclass

from scipy.stats import binomtest

TAIL = 0.025


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
