"""The attention backends of the vLLM that is installed, as its own selection tells; no engine is started."""

from __future__ import annotations

import pytest

from probes.checkpoint import default_model
from probes.doctor.model.attention import ask_selection
from probes.doctor.model.selection import Selection
from probes.memory.modelconfig import model_config, read_config

pytestmark = [pytest.mark.engine, pytest.mark.slow(20)]


def test_one_backend_for_heads_and_one_for_a_compressed_cache() -> None:
    plain = ask_selection(model_config(default_model(quiet=True)))
    assert isinstance(plain, Selection), plain
    assert (plain.platform, plain.picked, plain.refusals["CPU_ATTN"]) == ("cpu", "CPU_ATTN", "")
    assert plain.refusals["FLASH_ATTN"] == "takes CPU_ATTN in its place"
    assert ask_selection(model_config(default_model(quiet=True)), "fp8") == plain
    refused = ask_selection(model_config(default_model(quiet=True)), "nvfp4")
    assert isinstance(refused, Selection) and refused.doubt.startswith("CPU_ATTN has no nvfp4 among")
    latent = {"num_hidden_layers": 2, "num_attention_heads": 4, "kv_lora_rank": 512, "qk_rope_head_dim": 64}
    compressed = ask_selection(read_config(latent))
    assert isinstance(compressed, Selection), compressed
    assert compressed.picked in ("CPU_MLA", "AMX_MLA") and compressed.refusals["CPU_ATTN"] != ""
