"""How a checkpoint says that it is quantized: its weights' method, and the dtype that it asks of the KV cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from probes.hub.hubmodel import ModelFile

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


def read_quantization(config: ModelFile) -> Quantization | None:
    """What `quantization_config` of a config.json says, or ModelOpt's own file of the same; None for plain weights.

    vLLM takes the cache's dtype from it where `--kv-cache-dtype` is `auto`
    (`utils/torch_utils.py`: `resolve_kv_cache_dtype_string`; `layers/attention/attention.py`).
    """
    scheme = config.get("quantization_config") or config.get("compression_config")
    if not isinstance(scheme, Mapping):
        return None
    inner = _part(scheme, "quantization")
    # ModelOpt's file of its own names no method.
    method = str(scheme.get("quant_method") or ("modelopt" if inner else "unknown"))
    cache = _modelopt_cache(scheme, inner) if method.startswith("modelopt") else _compressed_cache(scheme)
    return Quantization(method, _bits(scheme, method), cache)


def _bits(scheme: ModelFile, method: str) -> int | None:
    weights = [_part(group, "weights") for group in _part(scheme, "config_groups").values()]
    own = scheme.get("bits"), scheme.get("w_bit")
    words = (*own, *(each.get("num_bits") for each in weights), OWN_BITS.get(method))
    return next((bits for bits in words if isinstance(bits, int)), None)


def _part(of: object, name: str) -> ModelFile:
    """A part of a file that anybody may have written; empty where it is no mapping, or is of none."""
    part = of.get(name) if isinstance(of, Mapping) else None
    return part if isinstance(part, Mapping) else {}


def _modelopt_cache(scheme: ModelFile, inner: ModelFile) -> str | None:
    names = ("kv_cache_scheme", "kv_cache_quant_algo")
    kind = next((value for name in names for part in (inner, scheme) if (value := part.get(name))), None)
    if isinstance(kind, Mapping):
        bits = kind.get("num_bits")
        if kind.get("type") != "float" or (bits == 8 and kind.get("dynamic") is not False):
            return None
        kind = "fp8" if bits == 8 else "nvfp4" if bits == 4 else None
    return MODELOPT_CACHES.get(str(kind).lower())


def _compressed_cache(scheme: ModelFile) -> str | None:
    """llm-compressor's: any scheme that vLLM starts with is one of eight bits."""
    return "fp8" if scheme.get("quant_method") == "compressed-tensors" and scheme.get("kv_cache_scheme") else None
