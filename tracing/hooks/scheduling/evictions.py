"""Which cached KV blocks the core's pool took for other content, and what of a prompt was in them.

A block is known by the hash of its tokens and of all before them. So of a prompt that is looked up, the blocks behind
those that were found had been cached before where their hashes are among the evicted: their tokens are computed again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice
from typing import Any

MOST_KNOWN = 1 << 16  # evicted hashes that are remembered, about 13 MB; what is older is taken for never cached
GROUP_BYTES = 4  # at the end of a hash in the pool: the number of its KV cache group


class Evictions:
    """The hashes evicted since the prefix cache was last reset, the oldest first, and how many have not been told."""

    def __init__(self) -> None:
        self.known: OrderedDict[bytes, None] = OrderedDict()  # a plain one takes long to give up its oldest
        self.untold = 0
        self.cache: Any = None  # the pool's own map, which it replaces when it is reset

    def remember(self, hashes: Iterable[bytes]) -> None:
        """Take note of blocks that were evicted, by their hashes in the pool."""
        for each in hashes:
            self.untold += 1
            self.known[each[:-GROUP_BYTES]] = None
        while len(self.known) > MOST_KNOWN:
            self.known.popitem(last=False)

    def kept(self, pool: Any) -> tuple[int, int]:
        """How many blocks' content the pool may find again, and how many it has evicted since the last call."""
        cache = getattr(pool, "cached_block_hash_to_block", ())
        if cache is not self.cache:
            self.known.clear()
            self.cache = cache
        evicted, self.untold = self.untold, 0
        return len(cache), evicted

    def lost(self, hit_tokens: int, manager: Any = None, request: Any = None, *_: Any) -> int:
        """The tokens of a request behind its first `hit_tokens` that had been cached and were evicted.

        The last token is always computed. Where hashes are of smaller pieces than blocks (hybrid models), or the
        manager and the request are not told, it is 0.
        """
        if not self.known:
            return 0
        try:
            size: int = manager.block_pool.hash_block_size
            hashes, last = request.block_hashes, (request.num_tokens - 1) // size
        except AttributeError:  # a version that calls it otherwise
            return 0
        tokens = 0
        for each in islice(hashes, hit_tokens // size, last):
            if each not in self.known:
                break
            tokens += size
        return tokens


evictions = Evictions()
