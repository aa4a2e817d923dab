"""The memory that a static batch needs, by arithmetic on the model's configuration, so that no batch runs out of it."""

from __future__ import annotations

from dataclasses import dataclass

MASK_BYTES = 5  # of a pair of prompt positions: the mask as booleans, and as what attention adds to its scores
HIDDEN_COPIES = 6  # residual, normed, queries, attention's output, its projection, and the next residual
INTERMEDIATE_COPIES = 3  # gate, up, and their product


@dataclass(frozen=True)
class BatchMemory:
    """What a model's batches need, in bytes beside the weights.

    `kv_bytes` is of one position in all layers (2 · layers · KV heads · head size · width), `prefill_bytes` what a
    position of the prompts holds in one layer while it is computed, `logits_bytes` a row's values over the vocabulary.
    """

    kv_bytes: int
    prefill_bytes: int
    logits_bytes: int

    def batch_bytes(self, rows: int, prompt_len: int, output_len: int) -> int:
        """The most that a batch holds at once; prompts are padded to `prompt_len` tokens.

        The last token of an output is never an input, so it has no keys and values.
        """
        positions = rows * (prompt_len + output_len - 1)
        prefill = rows * prompt_len * (self.prefill_bytes + prompt_len * MASK_BYTES)
        return positions * self.kv_bytes + prefill + rows * self.logits_bytes


def batch_memory(kv_values: int, hidden: int, intermediate: int, vocabulary: int, width: int) -> BatchMemory:
    """The memory of a model's batches from its sizes; `kv_values` are those of a position, `width` bytes a value."""
    prefill = (HIDDEN_COPIES * hidden + INTERMEDIATE_COPIES * intermediate) * width
    return BatchMemory(kv_values * width, prefill, vocabulary * (width + 4))  # logits, and their float32
