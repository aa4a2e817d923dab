"""The empty folder that a trace goes to."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

from probes.errors import EnginescopeError, usage_error


def new_folder(asked: Path | None) -> Path:
    """Make the folder; refuses one that holds something."""
    folder = asked or Path("traces", f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise usage_error(f"{folder} is not empty; name another folder with --out")
    except OSError as error:
        raise EnginescopeError(f"cannot make the trace folder {folder}: {error.strerror}") from None
    return folder.resolve()
