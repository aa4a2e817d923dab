"""vLLM's own sizes, in bytes, asked of its classes without an engine: python vllm_sizes.py FOLDER < config.json's.

Reads `{"caches": [dtype, …], "checkpoints": {name: quantization_config}}`. Writes to FOLDER one file of
tensors for each checkpoint, as vLLM's layer loads it, and to standard output the bytes of both.
"""

from __future__ import annotations

import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch

BLOCK, HEADS, HEAD_SIZE = 16, 8, 128
FLASHINFER = ("flashinfer", "flashinfer.decode", "flashinfer.prefill", "flashinfer.utils")
INPUTS, OUTPUTS = 256, 512


def flash_infer() -> Any:
    """vLLM's backend; FlashInfer itself comes with CUDA builds, and is not asked for a size."""
    library = {name: MagicMock(__spec__=ModuleSpec(name, None)) for name in FLASHINFER if name not in sys.modules}
    with patch.dict(sys.modules, library):
        from vllm.v1.attention.backends.flashinfer import FlashInferBackend
    return FlashInferBackend


def page_bytes(cache_dtype: str) -> dict[str, int]:
    """A page of a full layer, of one with a window, and of MLA."""
    import torch
    from vllm.utils.torch_utils import STR_DTYPE_TO_TORCH_DTYPE
    from vllm.v1.attention.backends.triton_attn import TritonAttentionBackend
    from vllm.v1.kv_cache_interface import FullAttentionSpec, MLAAttentionSpec, SlidingWindowSpec, get_kv_quant_mode

    mode = get_kv_quant_mode(cache_dtype)
    backend = flash_infer() if cache_dtype.startswith("nvfp4") else TritonAttentionBackend
    dtype: torch.dtype = STR_DTYPE_TO_TORCH_DTYPE[cache_dtype]
    shape: dict[str, Any] = {"block_size": BLOCK, "dtype": dtype, "kv_quant_mode": mode}
    heads = {"num_kv_heads": HEADS, "head_size": HEAD_SIZE}
    full = backend.customize_spec(FullAttentionSpec(**shape, **heads))
    sliding = backend.customize_spec(SlidingWindowSpec(**shape, **heads, sliding_window=64))
    mla = MLAAttentionSpec(**shape, num_kv_heads=1, head_size=576, cache_dtype_str=cache_dtype)
    return {"full": full.page_size_bytes, "sliding": sliding.page_size_bytes, "mla": mla.page_size_bytes}


def checkpoint_bytes(quantization: dict[str, Any], file: Path) -> int:
    """The parameters that vLLM makes for a layer of such a checkpoint, which it fills from `file`."""
    import torch
    from safetensors.torch import save_file
    from vllm.model_executor.layers.linear import ReplicatedLinear
    from vllm.model_executor.layers.quantization import get_quantization_config

    config = get_quantization_config(quantization["quant_method"]).from_config(quantization)
    with torch.device("cpu"):
        layer = ReplicatedLinear(
            INPUTS, OUTPUTS, bias=False, params_dtype=torch.float16, quant_config=config, prefix="model.layers.0.up"
        )
    tensors = {name: value.detach().clone() for name, value in layer.named_parameters()}
    save_file(tensors, file)
    return sum(each.nbytes for each in tensors.values())


def main() -> None:
    import torch
    from vllm.config import VllmConfig, set_current_vllm_config
    from vllm.distributed import init_distributed_environment, initialize_model_parallel

    asked, folder = json.load(sys.stdin), Path(sys.argv[1])
    config = VllmConfig()
    object.__setattr__(config, "model_config", SimpleNamespace(dtype=torch.float16, is_moe=False))
    with set_current_vllm_config(config):
        init_distributed_environment(1, 0, f"file://{folder}/rendezvous", 0, "gloo")
        initialize_model_parallel()
        pages = {each: page_bytes(each) for each in asked["caches"]}
        sizes = {
            name: checkpoint_bytes(each, folder / f"{name}.safetensors") for name, each in asked["checkpoints"].items()
        }
    print("\n" + json.dumps({"pages": pages, "checkpoints": sizes}))


if __name__ == "__main__":
    main()
