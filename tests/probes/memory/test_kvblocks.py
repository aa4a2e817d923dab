"""The KV cache's arithmetic: by hand, against public start-up logs, and what is said not to be known."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.memory.cachedtype import CACHE_DTYPES
from probes.memory.kvblocks import KVBlocks, kv_blocks, token_bytes
from probes.memory.modelconfig import KVLayers, read_config

GIB = 2**30
BF16 = CACHE_DTYPES["bfloat16"]
LLAMA_8B = {"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096}
QWEN_7B = {"num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4, "hidden_size": 3584}
QWEN_7B |= {"sliding_window": 131072, "use_sliding_window": False}
GEMMA_3 = {"model_type": "gemma3_text", "num_hidden_layers": 26, "num_attention_heads": 4, "head_dim": 256}
GEMMA_3 |= {"num_key_value_heads": 1, "sliding_window": 512, "hidden_size": 1152}
DEEPSEEK_V2 = {"num_hidden_layers": 27, "num_attention_heads": 16, "hidden_size": 2048}
DEEPSEEK_V2 |= {"kv_lora_rank": 512, "qk_rope_head_dim": 64}


def pool(config: dict[str, Any], cards: int = 1, block_size: int = 16, in_flight: int = 16_384) -> KVBlocks:
    return kv_blocks(read_config(config).kv_layers, BF16, cards, block_size, in_flight)


# Sizes are those of vLLM's "Available KV cache memory", tokens those of its "GPU KV cache size".
@pytest.mark.parametrize(
    ("config", "available_gib", "tokens"),
    [
        (LLAMA_8B, 3.78, 30_960),
        (LLAMA_8B, 26.54, 217_376),
        (QWEN_7B, 5.46, 102_288),
        (QWEN_7B, 3.7, 69_328),
    ],
)
def test_tokens_of_public_start_up_logs(config: dict[str, Any], available_gib: float, tokens: int) -> None:
    blocks = pool(config).blocks(int(available_gib * GIB))
    assert blocks * 16 == pytest.approx(tokens, rel=0.001)
    assert pool(config).tokens(int(available_gib * GIB), 16_384) == pytest.approx(tokens, rel=0.001)


def test_tensor_parallel_splits_kv_heads_as_far_as_there_are_any() -> None:
    layers = read_config(QWEN_7B).kv_layers
    assert [token_bytes(layers, BF16, cards) // 2**10 for cards in (1, 2, 4, 8)] == [56, 28, 14, 14]
    mla = read_config(DEEPSEEK_V2).kv_layers
    assert mla == (KVLayers("mla", 27, 1, 576),)
    assert token_bytes(mla, BF16, 1) == token_bytes(mla, BF16, 8) == 27 * 576 * 2


def test_layers_with_a_window_are_counted_by_group() -> None:
    layers = read_config(GEMMA_3).kv_layers
    assert layers == (KVLayers("full", 4, 1, 512), KVLayers("sliding", 22, 1, 512, 512))
    pages = pool(GEMMA_3, in_flight=2048)
    # Groups of four layers: one full, six with a window, of which the last has two layers to spare.
    assert (pages.groups, pages.block_bytes) == ((None, *[512] * 6), 4 * 512 * 2 * 16)
    # Full: 32,768 / 16 blocks; a window: 511 + 2,048 tokens, from anywhere in a block.
    assert pages.request_blocks(32_768) == 2048 + 6 * (160 + 1)
    assert pages.request_blocks(32) == 2 + 6 * 3
    even = kv_blocks([KVLayers("full", 13, 8, 128), KVLayers("sliding", 12, 8, 128, 128)], BF16, 1, 16, 2048)
    assert (even.groups, even.block_bytes) == ((None, 128), 13 * 8 * 128 * 2 * 16)


@pytest.mark.parametrize(
    ("more", "kinds"),
    [
        ({"model_type": "mistral", "sliding_window": 4096}, [("sliding", 32)]),
        ({"model_type": "mistral", "sliding_window": None}, [("full", 32)]),
        ({"model_type": "gemma2", "sliding_window": 4096}, [("full", 16), ("sliding", 16)]),
        ({"layer_types": ["full_attention"] * 32, "sliding_window": 4096}, [("full", 32)]),
        ({"text_config": {"num_hidden_layers": 8}}, [("full", 8)]),
    ],
)
def test_which_layers_have_a_window(more: dict[str, Any], kinds: list[tuple[str, int]]) -> None:
    assert [(each.kind, each.count) for each in read_config(LLAMA_8B | more).kv_layers] == kinds


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"layer_types": ["linear_attention", "full_attention"] * 16}, "layers of other kinds (linear_attention)"),
        ({"layer_types": ["chunked_attention"] * 32}, "layers of other kinds (chunked_attention)"),
        ({"model_type": "new", "sliding_window": 128}, "layers of other kinds (sliding_window)"),
        ({"mamba_d_state": 16}, "layers with a recurrent state (mamba_d_state)"),
        ({"kv_lora_rank": 512, "index_topk": 2048}, "an indexer's cache beside MLA's (index_topk)"),
        ({"kv_lora_rank": 512}, "no config.json that says layers and heads"),
        ({"num_hidden_layers": None}, "no config.json that says layers and heads"),
    ],
)
def test_other_caches_are_said_not_to_be_known(more: dict[str, Any], why: str) -> None:
    config = read_config(LLAMA_8B | more)
    assert (config.kv_layers, config.kv_unknown, config.kv_values) == ((), why, None)


def test_names_of_other_families() -> None:
    gpt2 = read_config({"n_layer": 12, "n_head": 12, "n_embd": 768, "n_positions": 1024})
    assert (gpt2.kv_layers, gpt2.max_len_tokens) == ((KVLayers("full", 12, 12, 128),), 1024)
    falcon = read_config({"num_hidden_layers": 32, "num_attention_heads": 71, "hidden_size": 4544, "multi_query": True})
    assert falcon.kv_layers == (KVLayers("full", 32, 1, 128),)
    assert falcon.kv_values == 32 * 128


@given(
    count=st.integers(1, 80),
    heads=st.integers(1, 16),
    length=st.integers(1, 100_000),
    blocks=st.integers(1, 10_000),
    block_size=st.sampled_from([16, 32, 128]),
)
def test_whole_blocks_hold_whole_requests(count: int, heads: int, length: int, blocks: int, block_size: int) -> None:
    pages = kv_blocks([KVLayers("full", count, heads, 128)], BF16, 1, block_size, 2048)
    available = blocks * pages.block_bytes
    assert pages.blocks(available) == blocks == pages.blocks(available + pages.block_bytes - 1)
    assert pages.request_bytes(length) >= length * token_bytes([KVLayers("full", count, heads, 128)], BF16, 1)
    whole_requests = int(pages.concurrency(available, length))
    assert whole_requests * pages.request_blocks(length) <= blocks
    assert pages.tokens(available, length) <= blocks * block_size
