"""The files of a model's weights: which there are, which there should be, and whether each is whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from probes.hub.hubmodel import ModelFile

INDEX = "model.safetensors.index.json"
LARGEST_HEADER = 100 * 2**20
FORMATS = ("*.safetensors", "*.bin", "*.pt", "*.gguf")  # the first that a folder has is the one that vLLM loads
NO_WEIGHTS = ("training_args.bin", "optimizer.pt", "scheduler.pt")


@dataclass(frozen=True)
class WeightFile:
    """A file of a model's weights: bytes here, None where it is missing, and when whole, None where nobody says."""

    name: str
    here_bytes: int | None
    whole_bytes: int | None

    @property
    def state(self) -> Literal["whole", "missing", "truncated", "unknown"]:
        """How it stands; `unknown` for a file that is here and of which nobody says how long it should be."""
        if self.here_bytes is None:
            return "missing"
        if self.whole_bytes is None:
            return "unknown"
        return "truncated" if self.here_bytes < self.whole_bytes else "whole"

    @property
    def is_bad(self) -> bool:
        """Whether it is missing or cut off."""
        return self.state in ("missing", "truncated")


def weight_files(folder: Path | None, index: ModelFile, sizes: Mapping[str, int]) -> list[WeightFile]:
    """The files that the index names, else those that the hub has (`sizes`, in bytes), else those in the folder."""
    names = sorted(set(index.get("weight_map", {}).values())) or _loaded(sorted(sizes)) or _there(folder)
    return [_weight_file(folder / name if folder else None, name, sizes.get(name)) for name in names]


def weight_names(folder: Path) -> list[str]:
    """The files of a folder that vLLM loads, by its index where it has one; those that are missing too."""
    return [each.name for each in weight_files(folder, read_index(folder), {})]


def read_index(folder: Path | None) -> ModelFile:
    """The index of a folder; empty where there is none, or it is not one."""
    try:
        index = json.loads((folder / INDEX).read_text()) if folder else {}
    except (OSError, ValueError):
        return {}
    return index if isinstance(index, dict) and isinstance(index.get("weight_map"), dict) else {}


def safetensors_header(file: Path) -> ModelFile:
    """The header: eight bytes of its length, then JSON of each tensor's dtype, shape and place; ValueError else."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if length > LARGEST_HEADER:
            raise ValueError(f"{file.name} is no safetensors file")
        header = json.loads(opened.read(length))
    if not isinstance(header, dict):
        raise ValueError(f"{file.name} is no safetensors file")
    return header


def _there(folder: Path | None) -> list[str]:
    return _loaded(sorted(path.name for path in folder.iterdir())) if folder else []


def _loaded(names: list[str]) -> list[str]:
    """Of all files the weights in the format that is loaded; what Mistral calls consolidated is the same once more."""
    weights = [name for name in names if "/" not in name and name not in NO_WEIGHTS]
    of_formats = ([name for name in weights if Path(name).match(pattern)] for pattern in FORMATS)
    first = next(filter(None, of_formats), [])
    return [name for name in first if not name.startswith("consolidated")] or first


def _weight_file(path: Path | None, name: str, hub_bytes: int | None) -> WeightFile:
    here = path.stat().st_size if path and path.is_file() else None
    own = _by_header(path) if path and here is not None and name.endswith(".safetensors") else None
    return WeightFile(name, here, hub_bytes if hub_bytes is not None else own)


def _by_header(file: Path) -> int | None:
    """The bytes that a safetensors file has when it is whole, by its own header; of one cut in its header, one more."""
    try:
        header = safetensors_header(file)
        ends = [int(each["data_offsets"][1]) for name, each in header.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError):
        return file.stat().st_size + 1
    with file.open("rb") as opened:
        return 8 + int.from_bytes(opened.read(8), "little") + max(ends, default=0)
