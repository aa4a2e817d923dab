"""Differences as rows: what `differences.csv` holds, and what a user reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from offline.differences.estimates import Contrast, Estimates
from probes.columns import column, dictionary
from probes.statistics.intervals import NONE_SEEN

TELLING = 100  # what is beyond that, or beyond its inverse, tells as much as no figure
FASTER, SLOWER = "faster", "slower"
# What is compared, and whether more is faster.
METRICS = {
    "output_tok_s": True,
    "latency_s_p50": False,
    "ttft_s_p50": False,
    "tpot_s_p50": False,
    "itl_s_p99": False,
}


@dataclass(frozen=True)
class Difference:
    """One comparison in one metric: a main effect, or a single cell."""

    axis: str = field(metadata=column("what differs: an axis, or several joined by `+`"))
    from_: str = field(metadata=column("its level before"))
    to: str = field(metadata=column("its level after"))
    cell: str = field(metadata=column("where: axes that are held; an axis that is not named is averaged over"))
    metric: str = field(metadata=column("the figure that is compared, as in table.csv"))
    ratio: float = field(metadata=column("to / from", "", "e^(difference of means of logarithms)"))
    lo: float = field(metadata=column("lower end of the 95 % interval, which holds for all rows of a metric together"))
    hi: float = field(metadata=column("upper end"))
    smallest_detectable: float = field(
        metadata=column(
            "ratio of a true difference that such a run finds 80 % of the time", "", "e^δ with P(|t'(δ/SE)| > c) = 0.8"
        )
    )
    verdict: str = field(metadata=column("faster, slower (for the user), or no difference seen"))

    @property
    def least(self) -> str:
        """The smallest difference that would have been found.

        | smallest_detectable | least                |
        | ------------------- | -------------------- |
        | 1.03                | 3.0%                 |
        | 3.7                 | a factor of 3.7      |
        | 30970.1             | a factor of over 100 |
        """
        size = self.smallest_detectable
        if size > TELLING:
            return f"a factor of over {TELLING}"
        return f"{size - 1:.1%}" if size < 2 else f"a factor of {size:.1f}"

    @property
    def interval(self) -> str:
        """The interval as it is shown, `0.836 to 1.205`: of an end beyond a hundredfold only that it is."""
        low = f"{self.lo:.3f}" if self.lo >= 1 / TELLING else f"<{1 / TELLING}"
        return f"{low} to {self.hi:.3f}" if self.hi <= TELLING else f"{low} to >{TELLING}"

    @property
    def sentence(self) -> str:
        """The verdict; where no difference was seen, with the smallest that would have been found."""
        seen = not self.verdict.startswith(NONE_SEEN)
        return self.verdict if seen else f"{self.verdict} (could have found {self.least})"


def difference_rows(estimates: Estimates, metric: str) -> list[Difference]:
    """The estimates of one run as rows, in their order."""
    half, detectable = estimates.half_width, estimates.smallest_detectable()
    return [
        _row(contrast, metric, *(float(figure[i]) for figure in (estimates.log_ratio, half, detectable)))
        for i, contrast in enumerate(estimates.contrasts)
    ]


def _row(contrast: Contrast, metric: str, log_ratio: float, half: float, detectable: float) -> Difference:
    lo, hi = float(np.exp(log_ratio - half)), float(np.exp(log_ratio + half))
    return Difference(
        axis=contrast.axis,
        from_=contrast.before,
        to=contrast.after,
        cell=contrast.cell,
        metric=metric,
        ratio=float(np.exp(log_ratio)),
        lo=lo,
        hi=hi,
        smallest_detectable=float(np.exp(detectable)),
        verdict=verdict(lo, hi, METRICS[metric]),
    )


def verdict(lo: float, hi: float, more_is_faster: bool) -> str:
    """What an interval of a ratio says for the user.

    | lo   | hi   | more_is_faster | verdict            |
    | ---- | ---- | -------------- | ------------------ |
    | 1.02 | 1.10 | True (tok/s)   | faster             |
    | 1.02 | 1.10 | False (a time) | slower             |
    | 0.99 | 1.10 | either         | no difference seen |
    """
    if lo <= 1 <= hi:
        return NONE_SEEN
    return FASTER if (lo > 1) == more_is_faster else SLOWER


def difference_frame(rows: Sequence[Difference]) -> pd.DataFrame:
    """The rows as `differences.csv` has them."""
    columns = [each.name for each in dictionary(Difference)]
    return pd.DataFrame([list(vars(row).values()) for row in rows], columns=columns)
