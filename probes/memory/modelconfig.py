"""What a model's `config.json` says that memory and dtypes follow from; read from JSON here alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Models whose cache is not keys and values of every head in every layer: no arithmetic here, rather than a wrong one.
OTHER_CACHES = (
    "kv_lora_rank",
    "layer_types",
    "layers_block_type",
    "mamba_d_state",
    "ssm_cfg",
    "sliding_window_pattern",
)


@dataclass(frozen=True)
class ModelConfig:
    """A model's own dtype, and the size of a token's keys and values; None stands for what the file does not say.

    `kv_values` counts the keys and values of one token in all layers: 2 · layers · KV heads · head size.
    """

    dtype: str | None = None
    kv_values: int | None = None


def model_config(folder: Path | None) -> ModelConfig:
    """The configuration in a model's folder; empty where there is no folder, no file, or no JSON object in it."""
    try:
        config = json.loads((folder / "config.json").read_text()) if folder else {}
    except (OSError, ValueError):
        return ModelConfig()
    return _read(config) if isinstance(config, dict) else ModelConfig()


def _read(config: Mapping[str, Any]) -> ModelConfig:
    parts = (config, config.get("text_config") or {})  # a multimodal model has the dtype in its text part
    dtype = next((value for part in parts for key in ("dtype", "torch_dtype") if (value := part.get(key))), None)
    return ModelConfig(dtype, None if any(config.get(name) for name in OTHER_CACHES) else _kv_values(config))


def _kv_values(config: Mapping[str, Any]) -> int | None:
    try:
        heads = config.get("num_key_value_heads") or config["num_attention_heads"]
        size = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        return 2 * int(config["num_hidden_layers"] * heads * size)
    except (KeyError, TypeError):
        return None
