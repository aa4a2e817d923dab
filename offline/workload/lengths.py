"""Distributions of lengths in tokens, by mean and spread."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from probes.errors import usage_error

FIXED, UNIFORM, LOGNORMAL = "fixed", "uniform", "lognormal"


@dataclass(frozen=True)
class Lengths:
    """Whole tokens from `least` to `most`. `cv` is the standard deviation over the mean; a fixed length has none.

    Longer draws are cut to `most`, so that the drawn mean lies a little below `mean` where the spread is wide.
    """

    kind: str
    mean: float
    cv: float = 0.0
    least: int = 1
    most: int = 1 << 20

    def __post_init__(self) -> None:
        if self.kind not in (FIXED, UNIFORM, LOGNORMAL):
            raise usage_error(f"lengths are fixed, uniform or lognormal, not {self.kind!r}")
        if not 1 <= self.least <= self.mean <= self.most or self.cv < 0:
            raise usage_error(f"lengths need 1 <= least <= mean <= most and cv >= 0, not {self}")
        if self.kind == UNIFORM and self.mean * (1 - math.sqrt(3) * self.cv) < 0:
            raise usage_error(f"a uniform length with mean {self.mean:g} has a cv of at most 0.577, not {self.cv:g}")

    def draw(self, source: np.random.Generator) -> int:
        """One length; rounded up or down by chance, so that rounding does not move the mean."""
        value = math.floor(self._value(source) + source.random())
        return min(max(value, self.least), self.most)

    def _value(self, source: np.random.Generator) -> float:
        if self.kind == LOGNORMAL:
            variance = math.log1p(self.cv**2)  # of the logarithm
            return float(source.lognormal(math.log(self.mean) - variance / 2, math.sqrt(variance)))
        half = math.sqrt(3) * self.cv * self.mean if self.kind == UNIFORM else 0.0
        return float(source.uniform(self.mean - half, self.mean + half))
