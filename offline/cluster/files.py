"""The files of a folder as they travel between nodes: their bytes, by their names in it."""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path

from offline.records.runfolder import write_whole


def read_files(folder: Path, without: Container[str] = ()) -> dict[str, bytes]:
    """All files below a folder, but those `without`."""
    files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name not in without}


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write them below another folder."""
    for name, content in files.items():
        (path := folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
