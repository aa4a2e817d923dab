"""What a step must move and compute at least, by the model's shape and its number formats.

A multiplication and an addition are two operations. Left out, as small: norms, biases, routers, activations, sampling,
and the rows of the embedding table that a step reads.
"""

from __future__ import annotations

from dataclasses import dataclass

from offline.limit.decoder import Decoder, NotCovered, decoder
from offline.records.resolved import Resolved
from probes.hub.hubmodel import ModelFile
from probes.memory.footprint import DTYPE_BYTES

FP8 = "fp8"
SCALE_BITS = 16  # of a group's scale


@dataclass(frozen=True)
class StepShape:
    """A step, as its work depends on it: tokens computed, rows of logits, tokens whose keys and values are read once,
    and pairs of a query and a key in a layer."""

    tokens: int
    outputs: int
    kv_read_tokens: float
    pairs: float


@dataclass(frozen=True)
class ModelWork:
    """A model in its number formats: bytes a parameter of its matrices (`linear_bytes`), of everything else
    (`other_bytes`), and a number in the KV cache (`kv_bytes`); `computed_in` is the format of its products."""

    decoder: Decoder
    linear_bytes: float
    other_bytes: int
    kv_bytes: int
    computed_in: str

    @property
    def kv_token_bytes(self) -> int:
        """Keys and values of one token in all layers."""
        model = self.decoder
        return 2 * model.layers * model.kv_heads * model.head_size * self.kv_bytes

    def weights_bytes(self, tokens: int) -> float:
        """Weights that a step of so many tokens reads, each once."""
        model = self.decoder
        experts = model.expert * model.expert_layers * model.experts_touched(tokens)
        return self.linear_bytes * (model.linear + experts) + self.other_bytes * (model.vectors + model.output_matrix)

    def moved_bytes(self, step: StepShape) -> float:
        """Bytes that a step reads and writes."""
        return self.weights_bytes(step.tokens) + self.kv_token_bytes * (step.kv_read_tokens + step.tokens)

    def operations(self, step: StepShape) -> float:
        """Operations of a step: two a parameter and token, two a row of logits, four a pair and dimension of a head."""
        model = self.decoder
        linear = model.linear + model.expert * model.expert_layers * model.experts_per_token
        attention = 2 * model.layers * model.heads * model.head_size * step.pairs
        return 2 * (linear * step.tokens + model.output_matrix * step.outputs + attention)


def model_work(config: ModelFile, resolved: Resolved) -> ModelWork:
    """The work of a model as the engine resolved it; `NotCovered` says why there is no arithmetic."""
    model, dtype = decoder(config), resolved.dtype or "unknown"
    width = DTYPE_BYTES.get(dtype)
    if width is None:
        raise NotCovered(f"no arithmetic for dtype {dtype}")
    if model.window and model.window < (resolved.max_model_len or 0):
        raise NotCovered(f"a window of {model.window} tokens is shorter than requests may be")
    cache = resolved.kv_cache_dtype or "auto"
    kv_bytes = width if cache == "auto" else DTYPE_BYTES.get(cache)
    if kv_bytes is None:
        raise NotCovered(f"no arithmetic for a KV cache of {cache}")
    kind = _quantization(config, resolved)
    if kind == FP8:
        return ModelWork(model, 1.0, width, kv_bytes, FP8)
    linear_bytes = _group_bytes(kind, config["quantization_config"]) if kind else width
    return ModelWork(model, linear_bytes, width, kv_bytes, dtype)


def _quantization(config: ModelFile, resolved: Resolved) -> str:
    """How the matrices are quantized: by the checkpoint, or by the engine on loading; empty where not."""
    kind = (config.get("quantization_config") or {}).get("quant_method")
    if not kind and resolved.quantization not in (None, FP8):
        raise NotCovered(f"no arithmetic for {resolved.quantization} weights")
    return kind or resolved.quantization or ""


def _group_bytes(kind: str, quantized: ModelFile) -> float:
    """Bytes a parameter of weights that are quantized in groups, a group's scale and zero point included.

    | bits | group | bytes a parameter        |
    | ---- | ----- | ------------------------ |
    | 4    | 128   | (4 + (16 + 4) / 128) / 8 |
    | 4    | -1    | 4 / 8                    |
    """
    bits = quantized.get("bits") or quantized.get("w_bit")
    if kind not in ("gptq", "awq") or not bits:
        raise NotCovered(f"no arithmetic for {kind} weights")
    group = quantized.get("group_size") or quantized.get("q_group_size") or -1
    return (bits + ((SCALE_BITS + bits) / group if group > 0 else 0)) / 8
