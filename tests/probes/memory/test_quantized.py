"""KV caches and weights in fewer bits: our sizes against those of vLLM's own classes, and what a checkpoint says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from probes.memory.cachedtype import CACHE_DTYPES, cache_dtype
from probes.memory.footprint import weights
from probes.memory.kvblocks import kv_blocks
from probes.memory.kvcache import kv_bytes_per_token
from probes.memory.modelconfig import KVLayers, ModelConfig, model_config, read_config
from probes.memory.quantization import Quantization, read_quantization
from tests.needs import HAS_VLLM, needs_vllm
from tests.probes.doctor.machines import ROOT
from tests.probes.shardedmodel import CONFIG

LAYERS = {
    "full": KVLayers("full", 1, 8, 256),
    "sliding": KVLayers("sliding", 1, 8, 256, 64),
    "mla": KVLayers("mla", 1, 1, 576),
}
CACHES = [name for name in CACHE_DTYPES if name not in ("float", "half")]
FOR_MLA = [
    name for name in CACHES if not isinstance(cache_dtype(ModelConfig(kv_layers=(LAYERS["mla"],)), name, ""), str)
]
INT4 = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 128, "dynamic": False}
CHECKPOINTS = {
    "awq": {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True},
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": True},
    "fp8": {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]},
    "compressed": {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": INT4, "input_activations": None}},
        "ignore": [],
    },
}


@pytest.fixture(scope="module")
def vllms(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of the checkpoints' files, and what vLLM's classes say."""
    if not HAS_VLLM:
        pytest.skip("vllm is not installed")
    folder, asked = tmp_path_factory.mktemp("sizes"), json.dumps({"caches": CACHES, "checkpoints": CHECKPOINTS})
    words = [sys.executable, str(ROOT / "tests/probes/memory/vllm_sizes.py"), str(folder)]
    done = subprocess.run(words, cwd=ROOT, input=asked, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, json.loads(done.stdout.splitlines()[-1])


@needs_vllm
@pytest.mark.slow(30)
@pytest.mark.parametrize("name", CACHES)
def test_a_page_of_every_dtype_is_vllms(vllms: tuple[Path, dict[str, Any]], name: str) -> None:
    kinds = ["full", "sliding", *(["mla"] if name in FOR_MLA else [])]
    pages = {kind: kv_blocks([LAYERS[kind]], CACHE_DTYPES[name], 1, 16, 2048).block_bytes for kind in kinds}
    assert pages == {kind: vllms[1]["pages"][name][kind] for kind in kinds}


@needs_vllm
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_weights_by_their_files_are_those_that_vllm_has_room_for(
    vllms: tuple[Path, dict[str, Any]], tmp_path: Path, name: str
) -> None:
    folder, sizes = vllms
    (tmp_path / "model.safetensors").symlink_to(folder / f"{name}.safetensors")
    own = weights(tmp_path)
    assert own is not None and own.loaded == own.disk == sizes["checkpoints"][name]
    assert own.loaded < 0.6 * 2 * 256 * 512  # of bfloat16


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ({}, None),
        (CHECKPOINTS["awq"], Quantization("awq", 4)),
        (CHECKPOINTS["gptq"], Quantization("gptq", 4)),
        (CHECKPOINTS["fp8"], Quantization("fp8", 8)),
        (CHECKPOINTS["compressed"], Quantization("compressed-tensors", 4)),
        (
            CHECKPOINTS["compressed"] | {"kv_cache_scheme": {"num_bits": 8, "type": "float"}},
            Quantization("compressed-tensors", 4, "fp8"),
        ),
        ({"quant_method": "modelopt", "kv_cache_quant_algo": "FP8"}, Quantization("modelopt", None, "fp8_e4m3")),
        (
            {"quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "NVFP4"}},
            Quantization("modelopt", None, "nvfp4"),
        ),
        (
            {"quant_method": "modelopt", "kv_cache_scheme": {"num_bits": 8, "type": "float", "dynamic": True}},
            Quantization("modelopt"),
        ),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, Quantization("bitsandbytes")),
        # What no tool writes is not known, and no error.
        ({"quant_method": "compressed-tensors", "config_groups": {"a": 1}}, Quantization("compressed-tensors")),
        ({"quant_method": "modelopt", "kv_cache_scheme": {"type": "float", "num_bits": []}}, Quantization("modelopt")),
    ],
)
def test_what_a_checkpoint_says(scheme: dict[str, Any], expected: Quantization | None) -> None:
    assert read_quantization({"quantization_config": scheme} if scheme else {}) == expected


def test_modelopts_own_file_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "hf_quant_config.json").write_text(json.dumps({"quantization": {"kv_cache_quant_algo": "FP8"}}))
    assert model_config(tmp_path).quantization == Quantization("modelopt", None, "fp8_e4m3")
    # 2 layers x 2 heads x 32 values, of one byte where the checkpoint decides.
    assert kv_bytes_per_token(tmp_path) == kv_bytes_per_token(tmp_path, "auto") == 128
    assert kv_bytes_per_token(tmp_path, "bfloat16") == 256
    assert kv_bytes_per_token(tmp_path, "int8_per_token_head") == 2 * 2 * (32 + 8)
    assert kv_bytes_per_token(tmp_path, "turboquant_k8v4") is None


def test_mla_has_no_scales_of_its_own() -> None:
    latent = read_config(CONFIG | {"kv_lora_rank": 512, "qk_rope_head_dim": 64})
    assert cache_dtype(latent, "fp8", "bfloat16") == CACHE_DTYPES["fp8"]
    assert cache_dtype(latent, "nvfp4", "bfloat16") == "an MLA cache of nvfp4"
