"""A folder that says that a model is in it."""

from __future__ import annotations

from pathlib import Path


def model_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"torch_dtype": "bfloat16"}')
    return folder
