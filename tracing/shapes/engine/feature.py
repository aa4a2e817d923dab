"""What some shapes ask for: a LoRA adapter, vLLM's example KV connector, a grammar, a vector, beams, a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

IMAGE = "<image>"  # stands for a picture in a prompt
RANK = 8
SEED = 1
PICTURE = (80, 50)  # pixels
MANY = 64  # items of a list: more than an answer has tokens


def lora_request(model: Path, scratch: Path) -> Any:
    """The request's adapter: random weights for the queries and values of every layer of a model."""
    import torch
    from safetensors.torch import save_file
    from vllm.lora.request import LoRARequest

    config = json.loads((model / "config.json").read_text())
    hidden = int(config["hidden_size"])
    folder = scratch / "adapter"
    folder.mkdir()
    draw = torch.Generator().manual_seed(SEED)
    tensors = {}
    for layer in range(int(config["num_hidden_layers"])):
        for name in ("q_proj", "v_proj"):
            key = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            tensors[f"{key}.lora_A.weight"] = torch.randn((RANK, hidden), generator=draw)
            tensors[f"{key}.lora_B.weight"] = torch.randn((hidden, RANK), generator=draw)
    save_file(tensors, str(folder / "adapter_model.safetensors"))
    adapter = {"peft_type": "LORA", "r": RANK, "lora_alpha": RANK, "target_modules": ["q_proj", "v_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(adapter))
    return LoRARequest("made-up", 1, str(folder))


def kv_over_files(scratch: Path) -> Any:
    """The configuration of the connector that saves and loads KV blocks as files."""
    from vllm.config import KVTransferConfig

    return KVTransferConfig(
        kv_connector="ExampleConnector",
        kv_role="kv_both",
        kv_connector_extra_config={"shared_storage_path": str(scratch)},
    )


def long_list() -> Any:
    """A grammar: JSON that is longer than an answer may be, so that every answer has all its tokens."""
    from vllm.sampling_params import StructuredOutputsParams

    return StructuredOutputsParams(json={"type": "array", "items": {"type": "integer"}, "minItems": MANY})


def a_vector() -> Any:
    """What a request asks a pooling model for."""
    from vllm import PoolingParams

    return PoolingParams(task="embed")


def few_beams(tokens: int) -> Any:
    """A search with two beams of so many tokens."""
    from vllm.sampling_params import BeamSearchParams

    return BeamSearchParams(beam_width=2, max_tokens=tokens, ignore_eos=True)


def with_picture(text: str, number: int) -> dict[str, Any]:
    """A prompt with a picture of a colour of its own before the text."""
    from PIL import Image

    return {"prompt": f"{IMAGE} {text}", "multi_modal_data": {"image": Image.new("RGB", PICTURE, (9 * number, 0, 0))}}
