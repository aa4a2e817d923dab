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
        """The experts of a request's tokens, shape (tokens, layers, experts a token)."""
        if routed is None:
            return
        layers = routed.shape[1]
        places = routed + self.experts * np.arange(layers)[:, np.newaxis]
        counts = np.bincount(places.ravel(), minlength=layers * self.experts).reshape(layers, self.experts)
        self._counts = counts if self._counts is None else self._counts + counts

    def take(self) -> list[list[int]]:
        """The counts since the last call, experts in each layer; empty where there are none.

        vLLM names the first expert for every token of a layer that has none: such a layer is all zeros here.
        """
        counts, self._counts = self._counts, None
        if counts is None:
            return []
        has_experts = counts[:, 1:].any(axis=1, keepdims=True)
        return np.where(has_experts, counts, 0).tolist()
