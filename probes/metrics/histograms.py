"""A histogram of a server's in a window: how many values came, their mean, and where their quantiles lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from probes.metrics.exposition import Window
from probes.statistics.buckets import Quantile, quantile

SHARES = (0.5, 0.9, 0.99)


@dataclass(frozen=True)
class HistogramFigures:
    """Exact count and mean, interpolated quantiles by share; in `unit`, as names carry it (`s`, `tokens`)."""

    unit: str
    count: float
    mean: float | None
    quantiles: dict[float, Quantile | None]

    def as_dict(self) -> dict[str, object]:
        """For JSON: each quantile with the bucket that holds it (no upper end: null)."""
        quantiles = {f"p{100 * share:g}": at and self._quantile(at) for share, at in self.quantiles.items()}
        return {"count": self.count, f"mean_{self.unit}": self.mean, **quantiles}

    def _quantile(self, at: Quantile) -> dict[str, object]:
        bucket = [at.lower, None if at.above else at.upper]
        return {f"value_{self.unit}": at.value, "above": at.above, "below": at.below, f"bucket_{self.unit}": bucket}


def histogram(
    window: Window, names: Sequence[str], unit: str, where: Mapping[str, str] | None = None
) -> HistogramFigures | None:
    """The values that came in the window; None where the server has none of these histograms."""
    name = window.after.name_among(names, "_count") or names[0]
    count, total = window.increase(f"{name}_count", where), window.increase(f"{name}_sum", where)
    if count is None:
        return None
    mean = total / count if count and total is not None else None
    buckets = window.buckets(name, where)
    return HistogramFigures(unit, count, mean, {share: quantile(share, buckets, mean) for share in SHARES})
