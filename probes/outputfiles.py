"""Files that a command writes where its user wants them: one that is there already stays, and a failure is one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from probes.errors import EnginescopeError, usage_error

OVERWRITE = "--force overwrites it"


def refuse_existing(paths: Iterable[Path], advice: str = OVERWRITE) -> None:
    """Refuse to go on where one of the files is there, before anything is done for them."""
    for path in paths:
        if path.exists():
            raise usage_error(f"{path} is there already: {advice}")


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise usage_error(f"cannot make {folder}: {error.strerror}") from None


def write_texts(texts: Mapping[Path, str]) -> list[Path]:
    """Write each text to its file, over what is there; the files."""
    for path, text in texts.items():
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise EnginescopeError(f"cannot write {path}: {error.strerror}") from None
    return list(texts)
