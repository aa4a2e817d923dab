"""Whether a server keeps up with a rate: a test of how the backlog grows from N to 4N requests.

The backlog is what has been scheduled and is not complete; what it is while a server keeps up is not known beforehand
(a batch of twenty requests is a backlog of twenty). So the first N requests fill the server, and the test looks at the
3N that follow. Below capacity the backlog stays about its level, above it grows with the number of requests, and at
capacity it wanders like a sum of 3N independent steps: growth alone tells nothing there, a range does.

- *not sustained*: it grew by more than such a sum would in 19 of 20 runs, over all 3N and over their later half too.
  Arrivals scatter as the schedule's own gaps do, service as much as that of one request at a time at random lengths.
- *sustained*: its range is smaller than that of such a sum in 19 of 20 runs, even of a server that serves without any
  scatter; and there were requests enough: at 1.1 times the capacity a backlog grows by a share of 1/11 of the requests,
  which has to be three times the scatter. The range is that of its means over 16 stretches, highest less lowest, so
  that batches that begin and end leave it alone. Arrivals at equal gaps are taken to scatter half as much as Poisson
  ones: a backlog that does not move at all is only one of a service that does not scatter either.
- *undecided*: neither; the rate is near the capacity, or there were too few requests.

`tests/bench/knee.py` simulates how often this holds; the result is in `notes/tables/knee.md`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offline.load.planning.arrivals import gap_scatter

Times = NDArray[np.float64]
SUSTAINED, NOT_SUSTAINED, UNDECIDED = "sustained", "not sustained", "undecided"
GROWTH_BOUND = 1.645  # of a normal value in 19 of 20 cases
STRETCHES = 16
RANGE_BOUND = 0.40  # of a sum of n steps of scatter 1, over √n: below it in 1 of 20 runs at capacity, by simulation
OVERLOAD = 1.1  # at this many times the capacity *sustained* is never to be said
CERTAINTY = 3.0  # standard deviations that such an overload has to stand out by
SERVICE_SCATTER = 1.0  # of a request's service time over its mean: exponential lengths
LEAST_SCATTER = 0.5  # what *sustained* is judged by at least: at equal gaps the backlog moves too, as service does


@dataclass(frozen=True)
class Backlog:
    """How the backlog moved over the last 3N of 4N requests, in requests.

    `scatter` is the standard deviation of a gap between arrivals over its mean: 1 for Poisson arrivals.
    """

    requests: int
    growth: float
    late_growth: float
    spread: float
    peak: int
    scatter: float

    @property
    def counted(self) -> int:
        """The requests that the test looks at: 3N."""
        return self.requests - self.requests // 4

    @property
    def served_share(self) -> float:
        """Of these requests, as many as were completed while they arrived; of an overload, capacity over rate."""
        return 1 - self.growth / self.counted if self.counted else 0.0

    @property
    def least_overload(self) -> float:
        """The smallest overload that would have stood out, as a factor of the capacity; infinite for few requests."""
        share = CERTAINTY * max(self.scatter, LEAST_SCATTER) / math.sqrt(self.counted) if self.counted else 1.0
        return 1 / (1 - share) if share < 1 else math.inf

    @property
    def verdict(self) -> str:
        """`sustained`, `not sustained` or `undecided`."""
        noise = GROWTH_BOUND * math.hypot(self.scatter, SERVICE_SCATTER) * math.sqrt(self.counted)
        if self.growth > noise and self.late_growth > noise / 2:
            return NOT_SUSTAINED
        narrow = self.spread < RANGE_BOUND * max(self.scatter, LEAST_SCATTER) * math.sqrt(self.counted)
        return SUSTAINED if narrow and self.least_overload <= OVERLOAD else UNDECIDED

    @property
    def is_short(self) -> bool:
        """Whether it is undecided for want of requests."""
        return self.verdict == UNDECIDED and self.least_overload > OVERLOAD

    @property
    def sentence(self) -> str:
        """The verdict and what it stands on."""
        moved = f"the backlog moved by {self.growth:+.0f} over {self.counted} requests (peak {self.peak})"
        if not self.is_short:
            return f"{self.verdict}: {moved}"
        excluded = f"{self.least_overload - 1:.0%}" if math.isfinite(self.least_overload) else "any size"
        need = needed_requests(self.scatter)
        return f"{self.verdict}: {moved}; an overload of {excluded} could have been missed, {need} requests are needed"


def needed_requests(scatter: float) -> int:
    """The requests (4N) that *sustained* needs at a scatter: 1,452 for Poisson arrivals."""
    share = 1 - 1 / OVERLOAD
    return math.ceil(4 / 3 * (CERTAINTY * max(scatter, LEAST_SCATTER) / share) ** 2)


def backlog(arrivals_s: Sequence[float] | Times, completions_s: Sequence[float] | Times) -> Backlog:
    """The backlog of requests that arrived at these ascending times; infinity where one was not completed.

    It is looked at whenever a request arrives, which it counts.
    """
    arrivals, completions = np.asarray(arrivals_s, dtype=float), np.sort(np.asarray(completions_s, dtype=float))
    if len(arrivals) < 4:
        return Backlog(len(arrivals), 0.0, 0.0, 0.0, len(arrivals), 1.0)
    levels = np.arange(1, len(arrivals) + 1) - np.searchsorted(completions, arrivals, "right")
    later = levels[len(levels) // 4 :].astype(float)
    return Backlog(
        requests=len(arrivals),
        growth=float(later[-1] - later[0]),
        late_growth=float(later[-1] - later[len(later) // 2]),
        spread=float(np.ptp([stretch.mean() for stretch in np.array_split(later, min(STRETCHES, len(later)))])),
        peak=int(levels.max()),
        scatter=gap_scatter(arrivals),
    )
