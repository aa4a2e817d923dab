"""The dtypes of a KV cache, by vLLM's names for `--kv-cache-dtype`, and what one token of a head takes in each."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from probes.memory.modelconfig import ModelConfig

AUTO = (None, "auto")


@dataclass(frozen=True)
class CacheDtype:
    """Bits of a value, and the bytes of a scale that each token and head has beside its keys and beside its values."""

    name: str
    bits: Fraction
    scale_bytes: int = 0

    @property
    def value_bytes(self) -> float:
        """Bytes of a value, without scales."""
        return float(self.bits / 8)

    def head_bytes(self, values: int) -> int:
        """Bytes of so many values, the keys and values of one token in one head."""
        return int(values * self.bits / 8) + 2 * self.scale_bytes


# By 0.31 to 0.33: `STR_DTYPE_TO_TORCH_DTYPE`, and what Triton's and FlashInfer's backends make of it: `customize_spec`.
# NVFP4 is four bits, and a scale of eight for sixteen values. Others (turboquant, …) have backends of their own.
CACHE_DTYPES = {
    **{name: CacheDtype(name, Fraction(32)) for name in ("float32", "float")},
    **{name: CacheDtype(name, Fraction(16)) for name in ("float16", "half", "bfloat16")},
    **{name: CacheDtype(name, Fraction(8)) for name in ("fp8", "fp8_e4m3", "fp8_e5m2")},
    **{name: CacheDtype(name, Fraction(8), 4) for name in ("fp8_per_token_head", "int8_per_token_head")},
    "int4_per_token_head": CacheDtype("int4_per_token_head", Fraction(4), 4),
    **{name: CacheDtype(name, Fraction(9, 2)) for name in ("nvfp4", "nvfp4_4over6")},
}


def stated_dtype(config: ModelConfig, asked: str | None) -> str | None:
    """The name of the cache's dtype as asked, else as the checkpoint says; None where it is the model's own."""
    own = config.quantization.cache_dtype if config.quantization else None
    return own if asked in AUTO else asked


def cache_dtype(config: ModelConfig, asked: str | None, model_dtype: str | None = None) -> CacheDtype | str:
    """What the cache is kept in: as stated, else as the model, which `model_dtype` may set; the reason if not known."""
    name = stated_dtype(config, asked) or (None if model_dtype in AUTO else model_dtype) or config.loaded_dtype
    dtype = CACHE_DTYPES.get(name)
    if dtype is None:
        return f"the size of a value in a KV cache of {name}"
    plain = not dtype.scale_bytes and dtype.bits >= 8
    if not plain and any(each.kind == "mla" for each in config.kv_layers):
        return f"an MLA cache of {name}"
    return dtype
