"""The KV cache that vLLM makes of five models on CPU, block by block as the doctor reckons it beforehand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from probes.checkpoint import default_model
from probes.memory.cachedtype import CACHE_DTYPES
from probes.memory.kvblocks import KVBlocks, kv_blocks
from probes.memory.modelconfig import model_config
from tests.engine.probes.kv_pools import KV_BYTES, LENGTH_TOKENS
from tests.engine.recording import ROOT

pytestmark = [pytest.mark.engine, pytest.mark.slow(120)]
TIME_LIMIT_S = 900
SMALL = {"hidden_size": 128, "intermediate_size": 256, "vocab_size": 512, "max_position_embeddings": 1024}
SMALL |= {"dtype": "bfloat16", "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "tie_word_embeddings": True}
GROUPED = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "rms_norm_eps": 1e-6}
GROUPED |= {"num_hidden_layers": 5, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 64}
# Every third layer is full: two of them, and six with a window.
WINDOWED = {"model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"], "query_pre_attn_scalar": 64}
WINDOWED |= {"num_hidden_layers": 8, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 64}
WINDOWED |= {"sliding_window": 96, "sliding_window_pattern": 3, "hidden_activation": "gelu_pytorch_tanh"}
LATENT = {"model_type": "deepseek_v2", "architectures": ["DeepseekV2ForCausalLM"], "first_k_dense_replace": 3}
LATENT |= {"num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 4, "q_lora_rank": None}
LATENT |= {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128}
MADE_UP = {"grouped": SMALL | GROUPED, "windowed": SMALL | WINDOWED, "latent": SMALL | LATENT}
MADE_UP |= {"eight_bits": SMALL | GROUPED}
KEPT_IN = {"eight_bits": "fp8"}  # of all others in the model's own dtype


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, dict[str, Any]]]:
    """The folder of each model, and what vLLM made of it."""
    folder = tmp_path_factory.mktemp("pools")
    models = {"default": folder / "default"}
    models["default"].symlink_to(default_model(quiet=True))
    for name, config in MADE_UP.items():
        models[name] = folder / name
        models[name].mkdir()
        (models[name] / "config.json").write_text(json.dumps(config))
    words = [
        sys.executable,
        str(ROOT / "tests/engine/probes/kv_pools.py"),
        str(folder),
        *[f"{path}={KEPT_IN.get(name, 'auto')}" for name, path in models.items()],
    ]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=TIME_LIMIT_S)
    assert done.returncode == 0, done.stderr[-4000:]
    return {name: (model, json.loads((folder / f"{name}.json").read_text())) for name, model in models.items()}


@pytest.mark.parametrize("name", ["default", *MADE_UP])
def test_blocks_tokens_and_requests_are_those_of_the_engine(pools: dict[str, Any], name: str) -> None:
    model, made = pools[name]
    dtype = CACHE_DTYPES[KEPT_IN.get(name, "bfloat16")]
    reckoned: KVBlocks = kv_blocks(model_config(model).kv_layers, dtype, 1, made["block_size"], made["in_flight"])
    assert (reckoned.blocks(KV_BYTES), reckoned.tokens(KV_BYTES, LENGTH_TOKENS), reckoned.block_size_tokens) == (
        made["blocks"],
        made["tokens"],
        made["block_size"],
    )
    assert reckoned.concurrency(KV_BYTES, LENGTH_TOKENS) == made["concurrency"]
