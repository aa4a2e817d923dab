"""A static batch: which of the waiting requests run together, and how much of what it computes is padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from offline.torchbaseline.memory import BatchMemory
from offline.variants.serving import ScheduledRequest


@dataclass(frozen=True)
class StaticBatch:
    """Requests that run together: prompts padded on the left to the longest, until the longest output is complete."""

    requests: tuple[ScheduledRequest, ...]

    @property
    def prompt_len(self) -> int:
        """Tokens of the longest prompt."""
        return max(len(request.prompt_token_ids) for request in self.requests)

    @property
    def output_len(self) -> int:
        """Tokens of the longest output."""
        return max(request.output_tokens for request in self.requests)

    @property
    def work(self) -> BatchWork:
        """What it computes, once it is complete."""
        prompt = sum(len(request.prompt_token_ids) for request in self.requests)
        output = sum(request.output_tokens for request in self.requests)
        rows = len(self.requests)
        return BatchWork(1, prompt, output, rows * self.prompt_len - prompt, rows * self.output_len - output)


@dataclass(frozen=True)
class BatchWork:
    """Tokens of real prompts and outputs; beside them, what was computed for nothing.

    `prompt_padding_tokens` stand left of shorter prompts, `output_padding_tokens` are of rows that were complete while
    the batch ran on.
    """

    batches: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    prompt_padding_tokens: int = 0
    output_padding_tokens: int = 0

    def __add__(self, other: BatchWork) -> BatchWork:
        return BatchWork(*(mine + its for mine, its in zip(vars(self).values(), vars(other).values(), strict=True)))


@dataclass(frozen=True)
class BatchLimits:
    """The most requests of a batch, the most bytes that it may need, and how long the first one waits for company."""

    most_rows: int = 16
    most_bytes: int = 1 << 30
    wait_s: float = 0.01


def first_batch(waiting: Sequence[ScheduledRequest], memory: BatchMemory, limits: BatchLimits) -> StaticBatch:
    """The batch of the requests that wait longest, as many as the limits allow, and at least one.

    With room for 100 positions of keys and values:

    | waiting (prompt + output - 1) | batch | why                                    |
    | ----------------------------- | ----- | -------------------------------------- |
    | 40, 40, 40                    | 40, 40 | three rows need 120 positions          |
    | 30, 90, 10                    | 30    | padded, two rows need 180; 10 comes later |
    """
    batch = StaticBatch((waiting[0],))
    for count in range(2, min(len(waiting), limits.most_rows) + 1):
        larger = StaticBatch(tuple(waiting[:count]))
        if batch_bytes(larger, memory) > limits.most_bytes:
            break
        batch = larger
    return batch


def batch_bytes(batch: StaticBatch, memory: BatchMemory) -> int:
    """What a batch needs beside the weights."""
    return memory.batch_bytes(len(batch.requests), batch.prompt_len, batch.output_len)
