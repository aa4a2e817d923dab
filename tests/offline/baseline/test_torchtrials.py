"""The plain PyTorch side on a small model: it answers as an engine's process does."""

from __future__ import annotations

import pytest

from probes.checkpoint import two_layer_model
from tests.needs import needs_torch, needs_transformers

pytestmark = [needs_torch, needs_transformers, pytest.mark.slow]


def test_a_batch_has_fixed_lengths_and_says_what_it_needed() -> None:
    from offline.baseline.torchtrials import TorchTrials  # here: it brings torch

    side = TorchTrials()
    started = side.answer({"do": "start", "settings": {"model": str(two_layer_model()), "dtype": "float32"}})
    assert started["startup_s"] > 0 and started["kv_bytes"] == 2 * 2 * 4 * 32 * 4  # keys, values, layers, heads, size
    cell = {"batch_size": 3, "cache_state": "cold", "input_len": 12, "output_len": 5, "shared_prefix_len": 0}
    answer = side.answer({"do": "trial", "cell": cell, "seed": 1})
    assert answer["tokens"] == 15 and answer["end_ns"] > answer["start_ns"]
    assert answer["batch_bytes"] >= 3 * 16 * started["kv_bytes"]
