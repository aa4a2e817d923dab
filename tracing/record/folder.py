"""The folder that a trace goes to, and its file `trace.json`."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from pathlib import Path
from typing import Any

from probes.errors import EnginescopeError, usage_error
from tracing.events import contention

SCHEMA = 1
FILE = "trace.json"


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


def write(folder: Path, trace: dict[str, Any]) -> None:
    """Write `trace.json`, whole or not at all; `EnginescopeError` where there is no room for it."""
    draft = folder / f"{FILE}.draft"
    try:
        draft.write_text(json.dumps(trace, indent=1))
        draft.replace(folder / FILE)
    except OSError as error:
        raise EnginescopeError(f"cannot write {folder / FILE}: {error.strerror}; name another with --out") from None


def is_empty(folder: Path) -> bool:
    """Whether nothing is there but `trace.json` and samples of the machine."""
    return {path.name for path in folder.iterdir()} <= {FILE, contention.FILE}


def discard(folder: Path) -> None:
    """Remove the folder with the files that the recorder and its watchers put there; it was empty before."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
