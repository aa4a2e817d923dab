"""Token ids for requests of which only the lengths are known, drawn from a seed."""

from __future__ import annotations

import hashlib

import numpy as np

from offline.workload.items import Item


class TokenDraw:
    """Prompts of one schedule: bodies differ in every request and rate, a shared prefix is the same wherever it stands.

    Ids are uniform over the vocabulary without its first tokens, where control tokens live.
    """

    def __init__(self, vocabulary: int, seed: int, rate_req_s: float | None) -> None:
        self.vocabulary, self.seed = vocabulary, seed
        self._bodies = _generator(f"{seed}/{rate_req_s}/bodies")
        self._prefixes: dict[tuple[str, int], list[int]] = {}

    def prompt(self, item: Item) -> tuple[int, ...]:
        """The item's own tokens, or drawn ones of its length."""
        if item.prompt_token_ids is not None:
            return item.prompt_token_ids
        prefix = self._prefix(item.prefix, min(item.prefix_tokens, item.input_tokens)) if item.prefix else []
        return (*prefix, *self._ids(self._bodies, item.input_tokens - len(prefix)))

    def _prefix(self, name: str, length: int) -> list[int]:
        """The first `length` tokens of a named prefix, whatever length others take of it."""
        key = (name, length)
        if key not in self._prefixes:
            self._prefixes[key] = self._ids(_generator(f"{self.seed}/prefix/{name}"), length)
        return self._prefixes[key]

    def _ids(self, draw: np.random.Generator, count: int) -> list[int]:
        ids: list[int] = draw.integers(min(1000, self.vocabulary // 4), self.vocabulary, count).tolist()
        return ids


def _generator(text: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))
