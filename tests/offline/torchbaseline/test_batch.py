"""Which requests run together, what that needs, and what of it is padding."""

from __future__ import annotations

import pytest

from offline.torchbaseline.batch import BatchLimits, BatchWork, StaticBatch, batch_bytes, first_batch
from offline.torchbaseline.memory import BatchMemory, batch_memory
from offline.variants.serving import ScheduledRequest

POSITIONS = BatchMemory(kv_bytes=1000, prefill_bytes=0, logits_bytes=0)  # beside it the mask: five bytes a row


def a_request(number: int, prompt: int, output: int = 1) -> ScheduledRequest:
    return ScheduledRequest(number, 0.0, tuple(range(prompt)), output)


@pytest.mark.parametrize(
    ("outputs", "rows", "count"),
    [
        ([40, 40, 40], 16, 2),  # three rows need 120 positions
        ([30, 80, 10], 16, 1),  # padded, two rows need 160; the third may not overtake
        ([10, 10, 10], 2, 2),
        ([10, 10, 10], 16, 3),
        ([500], 16, 1),
    ],
)
def test_a_batch_holds_what_waits_longest(outputs: list[int], rows: int, count: int) -> None:
    """There is room for 100 positions."""
    waiting = [a_request(number, 1, output) for number, output in enumerate(outputs)]
    assert len(first_batch(waiting, POSITIONS, BatchLimits(rows, 100_999)).requests) == count


def test_padding_is_counted_apart_from_real_tokens() -> None:
    batch = StaticBatch((a_request(1, prompt=10, output=4), a_request(2, prompt=6, output=16)))
    assert batch.work == BatchWork(1, 16, 20, prompt_padding_tokens=4, output_padding_tokens=12)
    assert batch.work + batch.work == BatchWork(2, 32, 40, 8, 24)


def test_the_memory_of_a_batch_by_hand() -> None:
    """Two layers of 4 heads of 32: 2 · 2 · 4 · 32 = 512 values of four bytes a position."""
    memory = batch_memory(kv_values=512, hidden=128, intermediate=256, vocabulary=49152, width=4)
    assert memory == BatchMemory(kv_bytes=2048, prefill_bytes=(6 * 128 + 3 * 256) * 4, logits_bytes=49152 * 8)
    two = StaticBatch((a_request(1, prompt=100, output=11), a_request(2, prompt=60, output=5)))
    assert batch_bytes(two, memory) == 2 * 110 * 2048 + 2 * 100 * (6144 + 100 * 5) + 2 * 49152 * 8
