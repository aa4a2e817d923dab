"""Whether a model fits: weights, the KV cache of one request of full length, and what else an engine takes of a card.

The KV cache's arithmetic is vLLM's own. What activations and CUDA graphs take is found by vLLM in a trial run at start;
here it is an estimate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from probes.memory.cachedtype import CacheDtype
from probes.memory.kvblocks import KVBlocks, kv_blocks
from probes.memory.modelconfig import ModelConfig

GIB = 2**30
# Of a 7B model on an L4 the KV cache had 5.46 GiB without CUDA graphs and 3.7 GiB with them, by two start-up logs.
OTHER_BYTES = int(1.8 * GIB)
CARD_COUNTS = (1, 2, 4, 8, 16)
STEPS_AT_ONCE = 2  # of async scheduling, the default on GPUs


@dataclass(frozen=True)
class Room:
    """What a card has: all its bytes (None: not known), the share that the engine may take, and vLLM's block size.

    `step_tokens` is vLLM's default of `--max-num-batched-tokens` in a server on such a card; `kv_bytes` is the KV cache
    where a size is set for it.
    """

    card_bytes: int | None
    share: float
    block_size_tokens: int
    step_tokens: int
    steps_at_once: int = STEPS_AT_ONCE
    kv_bytes: int | None = None
    is_main_memory: bool = False


@dataclass(frozen=True)
class Fitting:
    """A model on so many cards, in bytes of one of them; None where the card's size is not known."""

    cards: int
    share: float
    weights_bytes: int
    request_bytes: int
    length_tokens: int
    blocks: KVBlocks
    card_bytes: int | None
    set_bytes: int | None = None
    in_main_memory: bool = False
    other_bytes: int = OTHER_BYTES

    @property
    def least_card_bytes(self) -> int:
        """The smallest card that holds the weights and one request of full length."""
        return ceil((self.weights_bytes + self.other_bytes + self.request_bytes) / self.share)

    @property
    def kv_bytes(self) -> int | None:
        """What is set or left for the KV cache; less than nothing where the weights alone are too large."""
        if self.set_bytes is not None or self.card_bytes is None:
            return self.set_bytes
        return int(self.card_bytes * self.share) - self.weights_bytes - self.other_bytes

    @property
    def fits(self) -> bool | None:
        """Whether the weights and one request of full length have room; None where the card is not known."""
        return None if self.kv_bytes is None else self.kv_bytes >= self.request_bytes

    @property
    def kv_tokens(self) -> int | None:
        """The tokens of the KV cache; None where there is none."""
        return self.blocks.tokens(self.kv_bytes, self.length_tokens) if self.kv_bytes and self.kv_bytes > 0 else None

    @property
    def concurrency(self) -> float | None:
        """Requests of full length that the KV cache holds at once."""
        known = self.kv_bytes and self.kv_bytes > 0
        return self.blocks.concurrency(self.kv_bytes or 0, self.length_tokens) if known else None


def gpu_room(card_bytes: int | None, share: float) -> Room:
    """A GPU's; the steps' sizes are those of vLLM 0.32 (`EngineArgs.get_batch_defaults`), by the card's memory."""
    size = card_bytes or 0
    step_tokens = 16_384 if size >= 160 * GIB else 8_192 if size >= 70 * GIB else 2_048
    return Room(card_bytes, share, 16, step_tokens)


def cpu_room(memory_bytes: int, share: float, kv_bytes: int | None) -> Room:
    """Main memory, for a CPU build of vLLM: larger blocks, no async scheduling, perhaps a KV cache of a set size."""
    return Room(memory_bytes, share, 128, 2_048, 1, kv_bytes, is_main_memory=True)


def fits(
    config: ModelConfig, dtype: CacheDtype, weights_bytes: int, length_tokens: int, room: Room, gpus: int | None
) -> Iterator[Fitting]:
    """The model on `gpus` cards, or on each number of cards over which its heads can be spread.

    Weights are taken as split evenly: norms and biases, which every card holds whole, are less than a percent.
    """
    for cards in [gpus] if gpus else CARD_COUNTS:
        if not gpus and config.heads and config.heads % cards:
            continue
        in_flight_tokens = room.steps_at_once * room.step_tokens
        blocks = kv_blocks(config.kv_layers, dtype, cards, room.block_size_tokens, in_flight_tokens)
        yield Fitting(
            cards=cards,
            share=room.share,
            weights_bytes=weights_bytes // cards,
            request_bytes=blocks.request_bytes(length_tokens),
            length_tokens=length_tokens,
            blocks=blocks,
            card_bytes=room.card_bytes,
            set_bytes=room.kv_bytes,
            in_main_memory=room.is_main_memory,
        )
