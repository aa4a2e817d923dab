"""Prompts as token ids from a recorded seed: a shared prefix, then a tail of its own for each request."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from offline.spec.grid import Cell


@dataclass(frozen=True)
class Workload:
    """The prompts of one trial, and the one that fills the cache before a warm trial (None before a cold one)."""

    prompts: list[list[int]]
    primer: list[int] | None


def workload(cell: Cell, seed: int, vocabulary: int) -> Workload:
    """The workload of a cell for a seed: the same numbers always give the same ids.

    Ids are uniform over the vocabulary without its first tokens (where control tokens live). The primer is the shared
    prefix and a tail that no measured prompt has.
    """
    draw = np.random.Generator(np.random.PCG64(seed))
    low = min(1000, vocabulary // 4)
    prefix = draw.integers(low, vocabulary, cell.shared_prefix_len)
    tails = draw.integers(low, vocabulary, (cell.batch_size + 1, cell.input_len - cell.shared_prefix_len))
    prompts = [np.concatenate([prefix, tail]).tolist() for tail in tails]
    return Workload(prompts[1:], prompts[0] if cell.cache_state == "warm" else None)
