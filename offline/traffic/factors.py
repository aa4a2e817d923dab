"""How variants differ: the factor of the knee over the baseline, and of figures at one rate, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.special import stdtrit

from offline.load.planning.schedule import level_name
from offline.traffic.knee import Bracket
from offline.traffic.results import LoadResults, RateResult
from offline.variants.builtin import ALL, PAGE
from probes.statistics.intervals import TAIL, Estimate


def knee_factor(knee: Bracket, base: Bracket) -> Estimate | None:
    """By what factor a variant sustains more than another; its ends are those of both brackets. None while one is open.

    | variant      | baseline   | factor              |
    | ------------ | ---------- | ------------------- |
    | [4.0, 4.4]   | [1.0, 1.1] | 4.0 (3.64 to 4.4)   |
    """
    if None in (knee.low_req_s, knee.high_req_s, base.low_req_s, base.high_req_s):
        return None
    low, high = float(knee.low_req_s or 0), float(knee.high_req_s or 0)
    base_low, base_high = float(base.low_req_s or 0), float(base.high_req_s or 0)
    return Estimate(math.sqrt(low * high / (base_low * base_high)), low / base_high, high / base_low)


def ratio(values: Sequence[float], base: Sequence[float]) -> Estimate:
    """The ratio of two geometric means over starts: its 95 % interval by t over starts, pooled, on logarithms.

    With one start of either there is no interval.
    """
    ours, others = np.log(values), np.log(base)
    difference = float(ours.mean() - others.mean())
    freedom = len(ours) + len(others) - 2
    if len(ours) < 2 or len(others) < 2:
        return Estimate(math.exp(difference), None, None)
    squares = float(((ours - ours.mean()) ** 2).sum() + ((others - others.mean()) ** 2).sum())
    half = float(stdtrit(freedom, 1 - TAIL)) * math.sqrt(squares / freedom * (1 / len(ours) + 1 / len(others)))
    return Estimate(math.exp(difference), math.exp(difference - half), math.exp(difference + half))


def optimizations(results: LoadResults) -> list[str]:
    """The variants that add one optimization to the plain engine, and the one that has all."""
    names = results.variants
    return [name for name in names if name.startswith(f"{PAGE}+") or name == ALL] if PAGE in names else []


def value(result: RateResult, name: str) -> float | None:
    """A figure of a rate on a start: `output_tok_s`, or the mean of a latency such as `normalized` or `ttft`."""
    figures = result.figures
    if name == "output_tok_s":
        return figures.output_tok_s.value or None
    if name == "longest_itl_s":
        return figures.longest_itl_s
    latency = getattr(figures, name)
    return latency.mean.value if latency else None


def rate_ratio(results: LoadResults, variant: str, base: str, rate: float | None, name: str) -> Estimate | None:
    """The ratio of a figure of two variants at one rate; None where a start of either has none."""
    sides = [[value(each, name) for each in results.of(side, rate)] for side in (variant, base)]
    known = [[each for each in side if each is not None] for side in sides]
    if not all(known) or any(len(a) < len(b) for a, b in zip(known, sides, strict=True)):
        return None
    return ratio(known[0], known[1])


def factor_text(estimate: Estimate | None) -> str:
    """`1.32 (1.20 to 1.45)`, `1.32 (n=1)`, or `not known`."""
    if estimate is None:
        return "not known"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2f} (n=1)"
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


GAINS = ("variant", "req/s", "normalized latency", "TTFT", "longest ITL", "output tok/s")


def gain_rows(results: LoadResults) -> Iterator[list[str]]:
    """Ratios to the plain engine: latencies below 1 and throughput above 1 are gains."""
    for variant in optimizations(results):
        for rate in results.levels(variant):
            names = ("normalized", "ttft", "longest_itl_s", "output_tok_s")
            ratios = [factor_text(rate_ratio(results, variant, PAGE, rate, name)) for name in names]
            yield [variant, level_name(rate), *ratios]
