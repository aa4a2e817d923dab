"""Tokens that each expert of a mixture got, from the experts that vLLM names with a finished request."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class ExpertTokens:
    """Counts by layer and expert; nothing where the engine names no experts."""

    def __init__(self, experts: int) -> None:
        self.experts = experts
        self._counts: NDArray[np.int64] | None = None

    def add(self, routed: NDArray[np.integer] | None) -> None:
        """The experts of a request's tokens, shape (tokens, layers, experts a token).

        A layer without experts is all zeros there, which several experts of one token cannot be.
        """
        if routed is None:
            return
        _, layers, several = routed.shape
        if self._counts is None:
            self._counts = np.zeros((layers, self.experts), dtype=np.int64)
        for layer in range(layers):
            if several == 1 or routed[:, layer].any():
                self._counts[layer] += np.bincount(routed[:, layer].ravel(), minlength=self.experts)

    def take(self) -> list[list[int]]:
        """The counts since the last call, experts in each layer; empty where there are none."""
        counts, self._counts = self._counts, None
        return [] if counts is None else counts.tolist()
