"""What a watcher has to say on the engine's standard error."""

from __future__ import annotations

import contextlib
import sys


def complain(words: str) -> None:
    """Say it, or nothing where that is closed or a pipe that nobody reads: the engine does not notice."""
    with contextlib.suppress(OSError, ValueError):
        print(f"enginescope: {words}", file=sys.stderr)
