"""A quantity over the requests of a rate: mean, median and P99 by blocks of time, and what a P99 would have needed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from probes.statistics.blocks import Blocks, Numbers
from probes.statistics.intervals import TAIL, Estimate

MEDIAN, TAIL_SHARE = 0.5, 0.99


@dataclass(frozen=True)
class LatencyFigures:
    """Mean, median and 99th percentile with their 95 % intervals, and the number of values.

    `p99` is there only where both ends of its interval are; else `p99_needs` says what it would have taken.
    """

    count: int
    mean: Estimate
    median: Estimate
    p99: Estimate | None
    p99_needs: str | None


def needed_values(share: float, alike: float = 1.0) -> int:
    """How many values a quantile's upper end needs: it has to lie inside of the sample.

    1 - q > z √(q (1 - q) · deff / n), as in `probes.statistics.blocks`; for P99 of independent values, 381.
    """
    return math.ceil(float(ndtri(1 - TAIL)) ** 2 * share / (1 - share) * alike)


def distribution(values: Numbers, times: Numbers, blocks: Blocks) -> LatencyFigures | None:
    """The distribution of values that were complete at `times`, seconds from the beginning; None without values."""
    if not len(values):
        return None
    median, p99 = blocks.quantiles(values, times, (MEDIAN, TAIL_SHARE))
    whole = p99.low is not None and p99.high is not None
    return LatencyFigures(
        count=len(values),
        mean=blocks.mean(values, times),
        median=median,
        p99=p99 if whole else None,
        p99_needs=None if whole else _needs(len(values), blocks),
    )


def _needs(count: int, blocks: Blocks) -> str:
    least = needed_values(TAIL_SHARE)
    if not blocks.count:
        return f"P99 needs {blocks.needed_s:.0f} s of this load, and at least {least} values"
    alike = max(1.0, (count + 1) / least)  # more than that many, and still open: they are alike in their blocks
    return f"P99 needs more than {needed_values(TAIL_SHARE, alike)} values"


def times_s(values_ns: list[int], begin_ns: int) -> Numbers:
    """Nanoseconds of the clock as seconds after a beginning."""
    return (np.asarray(values_ns, dtype=np.int64) - begin_ns) / 1e9
