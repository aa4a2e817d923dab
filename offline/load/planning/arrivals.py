"""When requests are due: arrival times of an open loop, the same for the same seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from probes.errors import usage_error

POISSON, GAMMA, CONSTANT, RECORDED = "poisson", "gamma", "constant", "recorded"
KINDS = (POISSON, GAMMA, CONSTANT, RECORDED)


def arrival_times(kind: str, rate_req_s: float, duration_s: float, seed: int, burstiness: float = 1.0) -> list[float]:
    """The times in [0, `duration_s`), in order, of a process with `rate_req_s` arrivals a second on average.

    | kind     | gaps between arrivals                                             | their CV       |
    | -------- | ----------------------------------------------------------------- | -------------- |
    | poisson  | exponential                                                       | 1              |
    | gamma    | gamma with shape `burstiness`: below 1 in bursts, above 1 steadier | 1/√burstiness |
    | constant | equal, the first at 0                                             | 0              |
    """
    if kind == CONSTANT:
        return [number / rate_req_s for number in range(int(np.ceil(duration_s * rate_req_s - 1e-9)))]
    shape = burstiness if kind == GAMMA else 1.0
    draw = np.random.default_rng(seed)
    times: list[float] = []
    now = 0.0
    while now < duration_s:
        gaps = draw.gamma(shape, 1 / (rate_req_s * shape), max(16, int(rate_req_s * duration_s)))
        times += (now + np.cumsum(gaps)).tolist()
        now = times[-1]
    return [time for time in times if time < duration_s]


def replayed_times(recorded_s: Sequence[float], rate_req_s: float | None, duration_s: float) -> list[float]:
    """Recorded arrivals from their first on, cut at `duration_s`; with a rate, their gaps are scaled to that mean."""
    if not recorded_s or any(later < earlier for earlier, later in pairwise(recorded_s)):
        raise usage_error("recorded arrivals must be at least one time, in order")
    span_s = recorded_s[-1] - recorded_s[0]
    scale = (len(recorded_s) - 1) / span_s / rate_req_s if rate_req_s and span_s else 1.0
    times = [(time - recorded_s[0]) * scale for time in recorded_s]
    return [time for time in times if time < duration_s]


def arrival_scatter(kind: str, burstiness: float, recorded_s: Sequence[float]) -> float:
    """The standard deviation of a gap between arrivals over its mean, as `arrival_times` draws or replays them."""
    if kind == RECORDED:
        return gap_scatter(recorded_s)
    return {POISSON: 1.0, GAMMA: 1 / math.sqrt(burstiness), CONSTANT: 0.0}[kind]


def gap_scatter(times_s: Sequence[float] | NDArray[np.float64]) -> float:
    """The same of some ascending times; 1, as that of Poisson arrivals, where they have no gaps."""
    gaps = np.diff(times_s)
    return float(gaps.std() / gaps.mean()) if len(gaps) and gaps.mean() > 0 else 1.0
