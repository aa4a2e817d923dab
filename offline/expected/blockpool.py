"""The pool of KV blocks as vLLM 0.32 keeps it: which block is free, what it holds, and which one is evicted next.

A model of `v1/core/block_pool.py` for one group of full attention: it lets `offline.expected` count without an engine.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from hashlib import blake2b

Key = Hashable  # what a full block holds: its own tokens and all before them


def block_keys(tokens: Sequence[int], block_size: int) -> list[Key]:
    """One key for each full block of `block_size` tokens; two keys agree only if everything up to there agrees.

    A digest, as in vLLM (`hash_block_tokens` in `v1/core/kv_cache_utils.py`), so that a long sweep keeps no prompts.
    """
    data, width = array("q", tokens).tobytes(), 8 * block_size
    keys: list[Key] = []
    key = b""
    for start in range(0, len(data) - width + 1, width):
        key = blake2b(key + data[start : start + width], digest_size=16).digest()
        keys.append(key)
    return keys


class BlockPool:
    """`num_blocks` blocks, of which one (vLLM's null block, number 0) is never handed out.

    Free blocks wait in the order in which they are taken: first those that hold nothing, then the others by last use.
    A free block keeps what it holds, and can be found, until it is taken for something else: that is its eviction.
    """

    def __init__(self, num_blocks: int) -> None:
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(1, num_blocks))
        self._users = [0] * num_blocks
        self._key: list[Key | None] = [None] * num_blocks
        # One key may be held by several blocks: vLLM never merges them, and finds the oldest.
        self._holders: dict[Key, dict[int, None]] = {}

    @property
    def num_free(self) -> int:
        """Blocks that can be taken now, those included that still hold something."""
        return len(self._free)

    def find(self, keys: Iterable[Key]) -> list[int]:
        """The blocks that hold the longest run of `keys` from the first on."""
        blocks: list[int] = []
        for key in keys:
            holders = self._holders.get(key)
            if holders is None:
                break
            blocks.append(next(iter(holders)))
        return blocks

    def num_idle(self, blocks: Iterable[int]) -> int:
        """How many of `blocks` nobody uses: sharing those costs free blocks, sharing the others does not."""
        return sum(not self._users[block] for block in blocks)

    def share(self, blocks: Iterable[int]) -> None:
        """Use blocks that were found, which takes the idle ones among them out of the free queue."""
        for block in blocks:
            if not self._users[block]:
                del self._free[block]
            self._users[block] += 1

    def take(self, count: int) -> list[int]:
        """The next `count` free blocks, emptied."""
        taken = [self._free.popitem(last=False)[0] for _ in range(count)]
        for block in taken:
            self._empty(block)
            self._users[block] = 1
        return taken

    def fill(self, block: int, key: Key) -> None:
        """Say what a block holds; from now on it can be found."""
        self._key[block] = key
        self._holders.setdefault(key, {})[block] = None

    def release(self, blocks: Sequence[int]) -> None:
        """Give back one request's blocks (in token order), so that its tail will be evicted before its head."""
        for block in reversed(blocks):
            self._users[block] -= 1
            if not self._users[block]:
                self._free[block] = None
                if self._key[block] is None:
                    self._free.move_to_end(block, last=False)

    def forget(self) -> None:
        """Empty every block (`reset_prefix_cache`); the order of the free queue stays."""
        self._holders.clear()
        self._key = [None] * len(self._key)

    def _empty(self, block: int) -> None:
        key = self._key[block]
        if key is None:
            return
        holders = self._holders[key]
        del holders[block]
        if not holders:
            del self._holders[key]
        self._key[block] = None
