"""All differences of a run in one metric, in the two strata, with intervals that hold together."""

from __future__ import annotations

from offline.differences.between import between
from offline.differences.estimates import Estimates, joined
from offline.differences.observations import Observations
from offline.differences.within import within

ERROR = 0.05
WITHIN_SHARE = 0.1  # of the error: differences inside starts are precise, those between starts need it more


def estimate(observations: Observations, error: float = ERROR, between_arms: bool = True) -> Estimates | None:
    """Every difference between arms, unless they are not to be compared, and between cells; None without replicates.

    The error is divided between the strata where both have contrasts.
    """
    inside = within(observations, WITHIN_SHARE * error)
    arms = between(observations, (1 - WITHIN_SHARE) * error if inside else error) if between_arms else None
    if inside and not arms:
        inside = within(observations, error)
    parts = [part for part in (arms, inside) if part is not None]
    return joined(parts) if parts else None
