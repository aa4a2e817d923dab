"""A small model of two shards with their index, as files in memory and in a hub's cache."""

from __future__ import annotations

import json
from pathlib import Path

from tests.probes.hub.localhub import COMMIT

CONFIG = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_size": 64,
    "max_position_embeddings": 1024,
    "dtype": "bfloat16",
}
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def safetensors(tensors: dict[str, tuple[str, list[int], int]]) -> bytes:
    """A file of tensors (dtype, shape, bytes), all zero."""
    return safetensors_head(tensors) + bytes(sum(size for _, _, size in tensors.values()))


def safetensors_head(tensors: dict[str, tuple[str, list[int], int]]) -> bytes:
    """What stands in such a file before the tensors' own bytes."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (dtype, shape, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


def sharded_model() -> dict[str, bytes]:
    """Its files: 3,000 parameters of two bytes."""
    first, second = SHARDS
    index = {"metadata": {"total_size": 6000}, "weight_map": {"w": first, "v": second}}
    return {
        "config.json": json.dumps(CONFIG).encode(),
        "model.safetensors.index.json": json.dumps(index).encode(),
        first: safetensors({"w": ("BF16", [10, 100], 2000)}),
        second: safetensors({"v": ("BF16", [2000], 4000)}),
        "tokenizer.json": b"{}",
    }


def laid(folder: Path, files: dict[str, bytes]) -> Path:
    """The files in a folder of their own."""
    folder.mkdir(parents=True)
    for name, body in files.items():
        (folder / name).write_bytes(body)
    return folder


def cached(cache: Path, name: str, files: dict[str, bytes]) -> Path:
    """The files in Hugging Face's cache: blobs, and links to them in a snapshot."""
    folder = cache / f"models--{name.replace('/', '--')}"
    snapshot = folder / "snapshots" / COMMIT
    for place in (snapshot, folder / "blobs", folder / "refs"):
        place.mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    for number, (file, body) in enumerate(files.items()):
        blob = folder / "blobs" / f"{number:040x}"
        blob.write_bytes(body)
        (snapshot / file).symlink_to(blob)
    return snapshot
