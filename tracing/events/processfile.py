"""`process-<pid>.json`: what a process said of itself, beside its events and its texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def pid_of(path: Path) -> int:
    """The process that a file of a trace folder is about, by its name."""
    return int(path.stem.partition("-")[2])


def beside(path: Path) -> Path:
    """The process file beside any file of that process."""
    return path.with_name(f"process-{pid_of(path)}.json")


def read(path: Path) -> dict[str, Any] | None:
    """What the process of a file said of itself; None where that cannot be read."""
    try:
        values: Any = json.loads(beside(path).read_text())
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None
