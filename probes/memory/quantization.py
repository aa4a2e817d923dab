"""How a checkpoint says that it is quantized: its weights' method, and the dtype that it asks of the KV cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MODELOPT_CACHES = {"fp8": "fp8_e4m3", "nvfp4": "nvfp4"}
OWN_BITS = {"fp8": 8, "mxfp4": 4}  # methods whose name says it


@dataclass(frozen=True)
class Quantization:
    """The method by its name in the checkpoint, the bits of a weight, and the KV cache's dtype; None: not said."""

    method: str
    bits: int | None = None
    cache_dtype: str | None = None

    def __str__(self) -> str:
        return f"{self.method}, {self.bits} bits" if self.bits else self.method


def read_quantization(config: Mapping[str, Any]) -> Quantization | None:
    """What `quantization_config` of a config.json says, or ModelOpt's own file of the same; None for plain weights.

    vLLM takes the cache's dtype from it where `--kv-cache-dtype` is `auto`
    (`utils/torch_utils.py`: `resolve_kv_cache_dtype_string`; `layers/attention/attention.py`).
    """
    said = config.get("quantization_config") or config.get("compression_config")
    if not isinstance(said, Mapping):
        return None
    inner = _part(said, "quantization") or said
    # ModelOpt's file of its own names no method.
    method = str(said.get("quant_method") or ("modelopt" if inner is not said else "unknown"))
    cache = _modelopt_cache(said, inner) if method.startswith("modelopt") else _compressed_cache(said)
    return Quantization(method, _bits(said, method), cache)


def _bits(said: Mapping[str, Any], method: str) -> int | None:
    weights = [_part(group, "weights") for group in _part(said, "config_groups").values()]
    stated = [said.get("bits"), said.get("w_bit"), *(each.get("num_bits") for each in weights), OWN_BITS.get(method)]
    return next((bits for bits in stated if isinstance(bits, int)), None)


def _part(of: Any, name: str) -> Mapping[str, Any]:
    """A part of a file that anybody may have written; empty where it is no mapping, or is of none."""
    part = of.get(name) if isinstance(of, Mapping) else None
    return part if isinstance(part, Mapping) else {}


def _modelopt_cache(said: Mapping[str, Any], inner: Mapping[str, Any]) -> str | None:
    names = ("kv_cache_scheme", "kv_cache_quant_algo")
    asked = next((value for name in names for part in (inner, said) if (value := part.get(name))), None)
    if isinstance(asked, Mapping):
        bits = asked.get("num_bits")
        if asked.get("type") != "float" or (bits == 8 and asked.get("dynamic") is not False):
            return None
        asked = "fp8" if bits == 8 else "nvfp4" if bits == 4 else None
    return MODELOPT_CACHES.get(str(asked).lower())


def _compressed_cache(said: Mapping[str, Any]) -> str | None:
    """llm-compressor's: any scheme that vLLM starts with is one of eight bits."""
    return "fp8" if said.get("quant_method") == "compressed-tensors" and said.get("kv_cache_scheme") else None
