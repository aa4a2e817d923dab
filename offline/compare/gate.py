"""`--fail-if-slower 3%`: what a check for CI makes of a comparison."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from offline.differences.difference import METRICS, Difference
from probes.errors import INCONCLUSIVE, REGRESSION


@dataclass(frozen=True)
class CheckOutcome:
    """The exit code of a check and its sentence."""

    code: int
    sentence: str


def check(rows: Sequence[Difference], bound: float) -> CheckOutcome:
    """4 where an interval lies beyond `bound` (0.03 is 3 %), 5 where these runs could not have found it, else 0."""
    slower = [row for row in rows if beyond(row, bound)]
    blind = [row for row in rows if not row.smallest_detectable <= 1 + bound]
    if slower:
        names = ", ".join(f"{row.cell} ({row.metric} {row.ratio:.3f} of before)" for row in slower)
        return CheckOutcome(REGRESSION, f"Slower by more than {bound:.1%}: {names}.")
    if blind or not rows:
        limits = [row.smallest_detectable - 1 for row in blind if math.isfinite(row.smallest_detectable)]
        least = f"; the smallest difference that every cell could have shown is {max(limits):.1%}" if limits else ""
        words = f"{len(blind)} of {len(rows)} rows could not have shown a difference of {bound:.1%}{least}"
        return CheckOutcome(INCONCLUSIVE, f"Inconclusive: {words}. Run more starts.")
    return CheckOutcome(0, f"Nothing is slower by more than {bound:.1%}; these runs could have shown it.")


def beyond(row: Difference, bound: float) -> bool:
    """Whether the whole interval of a row is slower by more than `bound`."""
    return row.hi < 1 - bound if METRICS[row.metric] else row.lo > 1 + bound
