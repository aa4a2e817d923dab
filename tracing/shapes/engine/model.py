"""The model that the shapes run: two layers of random weights, and copies of it of another configuration."""

from __future__ import annotations

import json
from pathlib import Path

from probes.checkpoint import cache_folder, two_layer_model
from tracing.shapes.engine.picturemodel import picture_model
from tracing.shapes.shape import Shape


def model_of(shape: Shape) -> Path:
    """The folder of a shape's model; one of a small vocabulary has a configuration, its own where it has one, and no
    tokenizer."""
    whole = two_layer_model()
    if shape.kind == "picture":
        return picture_model(whole)
    if shape.vocabulary is None:
        return whole
    folder = cache_folder() / f"{whole.name}-{shape.name if shape.model else shape.vocabulary}-words"
    config = json.loads((whole / "config.json").read_text()) | {"vocab_size": shape.vocabulary} | shape.model
    folder.mkdir(exist_ok=True)
    draft = folder / "config.json.draft"
    draft.write_text(json.dumps(config | {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}, indent=1))
    draft.replace(folder / "config.json")
    return folder
