"""For which engines the arithmetic of cached tokens holds, and why not for the others."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from offline.expected.conditions import why_unknown
from offline.records.resolved import Resolved

KNOWN: dict[str, Any] = {"scheduling_policy": "fcfs", "kv_blocks": 64, "block_size": 32, "max_num_seqs": 8}
LIMITS = {"max_num_batched_tokens": 512, "max_model_len": 256}
RESOLVED = Resolved(**(dict.fromkeys(each.name for each in fields(Resolved)) | KNOWN | LIMITS))
LLAMA = {"model_type": "llama", "sliding_window": None}


def test_a_plain_model_is_known() -> None:
    assert why_unknown({}, RESOLVED, LLAMA) == why_unknown({}, RESOLVED, None) == ""


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"model_type": "mistral", "sliding_window": 4096}, "sliding-window layers"),
        ({"text_config": {"layer_types": ["full_attention", "sliding_attention"]}}, "sliding-window layers"),
        ({"model_type": "llama4", "layer_types": ["chunked_attention"]}, "layers of chunked attention"),
        ({"model_type": "mamba2"}, "layers that keep a state in place of a KV cache"),
        ({"layers_block_type": ["attention", "mamba"]}, "layers that keep a state in place of a KV cache"),
        ({"model_type": "qwen2", "sliding_window": 4096, "use_sliding_window": False}, ""),
    ],
)
def test_a_model_of_other_layers_is_not(config: dict[str, Any], reason: str) -> None:
    assert why_unknown({}, RESOLVED, config) == reason


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"kv_transfer_config": {"kv_connector": "X"}}, "a KV connector brings blocks of its own"),
        ({"kv_offloading_size": 4.0}, "a KV connector brings blocks of its own"),
        ({"scheduler_cls": "own.Scheduler"}, "the arithmetic does not have scheduler_cls"),
        ({"max_num_active_seqs": 4}, "the arithmetic does not have max_num_active_seqs"),
        ({"decode_context_parallel_size": 2}, "context parallelism divides blocks over ranks"),
        ({"decode_context_parallel_size": 1, "kv_transfer_config": None}, ""),
    ],
)
def test_settings(settings: dict[str, Any], reason: str) -> None:
    assert why_unknown(settings, RESOLVED, LLAMA) == reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"speculative": "ngram"}, "speculative decoding takes blocks for drafts"),
        ({"scheduling_policy": "priority"}, "scheduling policy priority"),
        ({"has_inner_state": True}, "layers that keep a state in place of a KV cache"),
        ({"kv_blocks": None}, "this vLLM does not tell its blocks or limits"),
    ],
)
def test_resolved(changes: dict[str, Any], reason: str) -> None:
    assert why_unknown({}, replace(RESOLVED, **changes), LLAMA) == reason
