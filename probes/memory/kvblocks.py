"""How many blocks a KV cache has, and how many tokens they hold: vLLM's own arithmetic, by groups of layers.

vLLM cuts the layers into groups of the same number and gives each its own table of blocks out of one pool: a block is a
page in every layer of one group (`vllm/v1/core/kv_cache_utils.py`, 0.32).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from probes.memory.cachedtype import CacheDtype
from probes.memory.modelconfig import KVLayers

SMALL_EXCESS = 1.5  # more layers than this of one kind than of the other are cut into several groups


@dataclass(frozen=True)
class KVBlocks:
    """The pool of one card: tokens in a block, bytes of a block, and the window in tokens (or None) of each group.

    `in_flight_tokens` is what may be scheduled at once: a layer with a window keeps it beside the window.
    """

    block_size_tokens: int
    block_bytes: int
    groups: tuple[int | None, ...]
    in_flight_tokens: int

    def blocks(self, available_bytes: int) -> int:
        """Blocks in so many bytes."""
        return available_bytes // self.block_bytes

    def request_blocks(self, length_tokens: int) -> int:
        """Blocks that one request of so many tokens takes."""
        return sum(self._group_blocks(window, length_tokens) for window in self.groups)

    def request_bytes(self, length_tokens: int) -> int:
        """Bytes that one request of so many tokens takes."""
        return self.request_blocks(length_tokens) * self.block_bytes

    def concurrency(self, available_bytes: int, length_tokens: int) -> float:
        """Requests of that length that so many bytes hold at once: vLLM's "Maximum concurrency"."""
        return self.blocks(available_bytes) / self.request_blocks(length_tokens)

    def tokens(self, available_bytes: int, length_tokens: int) -> int:
        """Tokens of requests of that length: vLLM's "KV cache size"."""
        return int(self.concurrency(available_bytes, length_tokens) * length_tokens)

    def _group_blocks(self, window_tokens: int | None, length_tokens: int) -> int:
        if window_tokens is None:
            return _over(length_tokens, self.block_size_tokens)
        held = min(window_tokens - 1 + self.in_flight_tokens, length_tokens)
        return _over(held, self.block_size_tokens) + 1  # a window need not begin where a block does


def kv_blocks(
    layers: Sequence[KVLayers], dtype: CacheDtype, cards: int, block_size_tokens: int, in_flight_tokens: int
) -> KVBlocks:
    """The pool of a model's layers, which are known and have pages of one size.

    | layers                 | groups                             | layers in a block |
    | ---------------------- | ---------------------------------- | ----------------- |
    | 32 full                | 1                                  | 32                |
    | 26 with a window       | 1                                  | 26                |
    | 5 full, 21 with window | 1 and 5 (the last with 4 to spare) | 5                 |
    | 12 full, 13 with window | 1 and 1                           | 13                |
    """
    group_layers = _group_layers([each.count for each in layers])
    page_bytes = max(_heads(each, cards) * dtype.head_bytes(each.values) for each in layers) * block_size_tokens
    groups = [each.window_tokens for each in layers for _ in range(_over(each.count, group_layers))]
    return KVBlocks(block_size_tokens, page_bytes * group_layers, tuple(groups), in_flight_tokens)


def token_bytes(layers: Sequence[KVLayers], dtype: CacheDtype, cards: int) -> int:
    """Bytes of one token in all layers, on each of so many cards."""
    return sum(each.count * _heads(each, cards) * dtype.head_bytes(each.values) for each in layers)


def _heads(layers: KVLayers, cards: int) -> int:
    """KV heads of a layer on one card: tensor parallel splits them, and repeats them where there are more cards."""
    return max(1, layers.heads // cards)


def _group_layers(counts: Sequence[int]) -> int:
    fewest, most = min(counts), max(counts)
    return most if most < fewest * SMALL_EXCESS else fewest


def _over(tokens: int, block_size_tokens: int) -> int:
    return -(-tokens // block_size_tokens)
