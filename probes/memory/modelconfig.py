"""What a model's `config.json` says that memory and dtypes follow from; read from JSON here alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from probes.hub.hubmodel import ModelFile
from probes.memory.quantization import Quantization, read_quantization

FULL, SLIDING = "full_attention", "sliding_attention"
# The same figure has several names: the first that a file has counts.
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HEADS = ("num_attention_heads", "n_head", "n_heads")
KV_HEADS = ("num_key_value_heads", "n_head_kv", "num_kv_heads", "multi_query_group_num")
HIDDEN = ("hidden_size", "n_embd", "d_model")
LENGTH = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
# Models whose cache is not keys and values of every head in every layer: no arithmetic here, rather than a wrong one.
OTHER_CACHES = {
    "layers_block_type": "layers with a recurrent state",
    "hybrid_override_pattern": "layers with a recurrent state",
    "mamba_d_state": "layers with a recurrent state",
    "ssm_cfg": "layers with a recurrent state",
    "index_topk": "an indexer's cache beside MLA's",
    "num_kv_shared_layers": "layers that share one cache",
    "global_head_dim": "heads of several sizes",
    "is_encoder_decoder": "an encoder's cache beside the decoder's",
}
ALL_SLIDING = ("mistral", "mixtral", "phi3", "starcoder2")  # model types whose every layer takes `sliding_window`
ALTERNATING = {"gemma2": 2, "cohere2": 4, "gemma3_text": 6, "gemma3": 6}  # every so-manieth layer is full


@dataclass(frozen=True)
class KVLayers:
    """Layers that cache alike: KV heads in each, values of one token in one head, and the window in tokens if any.

    `values` counts keys and values; of MLA it is the compressed pair, in one head that every card holds whole.
    """

    kind: Literal["full", "sliding", "mla"]
    count: int
    heads: int
    values: int
    window_tokens: int | None = None


@dataclass(frozen=True)
class ModelConfig:
    """A model's own dtype, attention, longest request and quantization; None stands for what the file does not say.

    `kv_layers` is empty where the cache is of a kind that is not reckoned here; `kv_unknown` is then the reason.
    """

    dtype: str | None = None
    heads: int | None = None
    max_len_tokens: int | None = None
    kv_layers: tuple[KVLayers, ...] = ()
    kv_unknown: str = "no config.json that says layers and heads"
    quantization: Quantization | None = None

    @property
    def loaded_dtype(self) -> str:
        """The dtype in which vLLM computes it unless told: float32, and what is not said, becomes bfloat16."""
        return "bfloat16" if self.dtype in (None, "float32") else self.dtype

    @property
    def is_narrowed(self) -> bool:
        """Whether vLLM loads its weights in two bytes of their four, unless told."""
        return self.dtype == "float32" and not self.quantization

    @property
    def kv_values(self) -> int | None:
        """Keys and values of one token in all layers, on one card; None where some layers forget tokens."""
        if not self.kv_layers or any(each.window_tokens for each in self.kv_layers):
            return None
        return sum(each.count * each.heads * each.values for each in self.kv_layers)


def model_config(folder: Path | None) -> ModelConfig:
    """The configuration in a model's folder; empty where there is no folder, no file, or no JSON object in it."""
    config = _read(folder / "config.json") if folder else {}
    if folder and "quantization_config" not in config and (own := _read(folder / "hf_quant_config.json")):
        config = {**config, "quantization_config": own}  # ModelOpt's, up to 0.29
    return read_config(config)


def _read(file: Path) -> ModelFile:
    try:
        contents = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return contents if isinstance(contents, dict) else {}


def read_config(config: ModelFile) -> ModelConfig:
    """The same of a file's contents; a multimodal model's text part is what generates."""
    text = config.get("text_config") or {}
    # Either part may have the dtype; the figures of the layers stand in one.
    dtype = next(
        (value for part in (config, text) for key in ("dtype", "torch_dtype") if (value := part.get(key))), None
    )
    parts = {**config, **text}
    heads, length = _first(parts, HEADS), _first(parts, LENGTH)
    try:
        layers, why = _kv_layers(parts)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        layers, why = (), ModelConfig.kv_unknown
    return ModelConfig(dtype, heads, length, layers, why, read_quantization(parts))


def _kv_layers(config: ModelFile) -> tuple[tuple[KVLayers, ...], str]:
    """The layers by kind, or the reason why they are not known."""
    other = next((f"{why} ({name})" for name, why in OTHER_CACHES.items() if config.get(name)), None)
    if other:
        return (), other
    count = int(_needed(config, LAYERS))
    if config.get("kv_lora_rank"):
        # vLLM caches the compressed pair and the rotary key, in one head (vllm/model_executor/layers/attention).
        return (KVLayers("mla", count, 1, int(config["kv_lora_rank"] + config["qk_rope_head_dim"])),), ""
    kinds, window = _kinds(config, count), config.get("sliding_window")
    if kinds is None or not set(kinds) <= {FULL, SLIDING} or (SLIDING in kinds and not window):
        return (), f"layers of other kinds ({', '.join(sorted(set(kinds or ()) - {FULL})) or 'sliding_window'})"
    heads, size = _kv_heads(config), config.get("head_dim") or _needed(config, HIDDEN) // _needed(config, HEADS)
    full, sliding = kinds.count(FULL), kinds.count(SLIDING)
    layers = [
        *([KVLayers("full", full, heads, 2 * int(size))] if full else []),
        *([KVLayers("sliding", sliding, heads, 2 * int(size), int(window))] if sliding and window else []),
    ]
    return tuple(layers), ""


def _kinds(config: ModelFile, count: int) -> list[str] | None:
    """The kind of each layer, as `layer_types` of the file or by what its model type is known for; None if unknown."""
    if types := config.get("layer_types"):
        return list(types)
    if not config.get("sliding_window") or config.get("use_sliding_window") is False:
        return [FULL] * count
    model_type = config.get("model_type")
    every = config.get("sliding_window_pattern") or ALTERNATING.get(str(model_type))
    if isinstance(every, int):
        return [SLIDING if place % every else FULL for place in range(1, count + 1)]
    return [SLIDING] * count if model_type in ALL_SLIDING else None


def _kv_heads(config: ModelFile) -> int:
    one_head = config.get("multi_query") and not config.get("new_decoder_architecture")
    return 1 if one_head else int(_first(config, KV_HEADS) or _needed(config, HEADS))


def _first(config: ModelFile, names: tuple[str, ...]) -> int | None:
    return next((value for name in names if isinstance(value := config.get(name), int)), None)


def _needed(config: ModelFile, names: tuple[str, ...]) -> int:
    value = _first(config, names)
    if value is None:
        raise KeyError(names[0])
    return value
