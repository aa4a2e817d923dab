"""The built-in variants of a platform: plain PyTorch, paged attention alone, one optimization added, all of them."""

from __future__ import annotations

from offline.spec.settings import EngineSettings
from offline.variants.variant import TORCH, Variant
from probes.engineplatform import CPU, CUDA

BASELINE, PAGE, ALL = "torch-baseline", "vllm-page", "vllm-all-opt"
DEFAULT = (BASELINE, PAGE, ALL)
# Paged attention and nothing else. A step must then hold a whole prompt: the run sets the token budget to its longest.
PLAIN: EngineSettings = {
    "enforce_eager": True,
    "enable_prefix_caching": False,
    "enable_chunked_prefill": False,
    "async_scheduling": False,
}
CHUNK_TOKENS = 512
# One optimization each, by vLLM's engine arguments.
OPTIMIZATIONS: dict[str, EngineSettings] = {
    "flash-attn": {"attention_backend": "FLASH_ATTN"},
    "compile": {"enforce_eager": False},  # torch.compile, and CUDA graphs where there are any
    "chunked-prefill": {"enable_chunked_prefill": True, "max_num_batched_tokens": CHUNK_TOKENS},
    "prefix-caching": {"enable_prefix_caching": True},
    "async-scheduling": {"async_scheduling": True},
    "ngram": {"speculative_config": {"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 4}},
    "fp8-kv": {"kv_cache_dtype": "fp8"},
}
NOT_ALWAYS_FASTER = ("ngram", "fp8-kv")  # by the traffic, or with other numbers: not part of all optimizations
# Nor is this: torch.compile of the default model took over two minutes of an engine's start on two cores.
SLOW_TO_START = {CPU: ("compile",)}
NOT_FLASH = {CUDA: {"attention_backend": "TRITON_ATTN"}}  # CUDA's default is FlashAttention already
LACKING = {
    CPU: {
        "flash-attn": "the CPU platform has one attention backend, CPU_ATTN",
        "async-scheduling": "vLLM turns async scheduling off on the CPU platform",
    },
}


def built_in(platform: str) -> dict[str, Variant]:
    """The variants that a platform can run, by name."""
    plain = PLAIN | NOT_FLASH.get(platform, {})
    able = {name: more for name, more in OPTIMIZATIONS.items() if name not in LACKING.get(platform, {})}
    every = dict(plain)
    for name, more in able.items():
        every |= more if name not in (*NOT_ALWAYS_FASTER, *SLOW_TO_START.get(platform, ())) else {}
    variants = [
        Variant(BASELINE, TORCH),
        Variant(PAGE, settings=plain),
        *(Variant(f"{PAGE}+{name}", settings=plain | more) for name, more in able.items()),
        Variant(ALL, settings=every),
    ]
    return {variant.name: variant for variant in variants}


def lacking(platform: str) -> dict[str, str]:
    """The built-in variants that a platform cannot run, and why."""
    return {f"{PAGE}+{name}": reason for name, reason in LACKING.get(platform, {}).items()}
