"""The model of a sweep: where it is, whether it looks like one, and what tells it from another of the same name."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from probes.checkpoint import cache_folder, default_model
from probes.errors import usage_error
from probes.hub.hubmodel import ModelFile

WEIGHTS = (".safetensors", ".bin", ".pt", ".gguf")


@dataclass(frozen=True)
class ModelMark:
    """What tells a model from another of the same name: of a folder its files, of a hub id the id alone."""

    hub: str | None = None
    config_sha256: str | None = None
    weights_bytes: dict[str, int] | None = None  # by file

    def __str__(self) -> str:
        if self.hub:
            return self.hub
        return f"configuration {self.config_sha256} with {sum((self.weights_bytes or {}).values())} bytes of weights"


def find(name: str, load_format: str) -> Path | str:
    """The model to load: the default one, a local folder that was looked at, or a hub id as it stands."""
    if not name:
        return default_model()
    path = Path(name).expanduser()
    if not path.exists():
        if name.startswith((".", "/", "~")) or name.count("/") != 1:
            raise usage_error(f"--model {name}: no such folder, and not a hub id (ORG/NAME)")
        return name
    if not (path / "config.json").is_file():
        raise usage_error(f"--model {name}: not a model: it has no config.json")
    if load_format != "dummy" and not _weights(path):
        raise usage_error(f"--model {name}: no weights in it (*.safetensors); --load-format dummy makes random ones")
    return path.resolve()


def text_config(model: Path | str) -> ModelFile:
    """What a model's `config.json` says of its language model; empty where it is not on this disk or no object."""
    try:
        config = json.loads((Path(model) / "config.json").read_text())
    except (OSError, ValueError):
        return {}
    return config.get("text_config") or config if isinstance(config, dict) else {}


def label(model: Path | str) -> str:
    """A short name: the folder's or the hub id's last part, without the digest of our own cache folders."""
    if isinstance(model, Path) and model.parent == cache_folder():
        return model.name.rpartition("-")[0]
    return str(model).rstrip("/").split("/")[-1]


def mark(model: Path | str) -> ModelMark:
    """What a resumed run compares: the configuration's digest and the sizes of the weights."""
    if isinstance(model, str):
        return ModelMark(hub=model)
    config = hashlib.sha256((model / "config.json").read_bytes()).hexdigest()[:16]
    return ModelMark(None, config, {path.name: path.stat().st_size for path in _weights(model)})


def _weights(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in WEIGHTS)
