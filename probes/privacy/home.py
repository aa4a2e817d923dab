"""Paths for other people to read: without the user's name in them."""

from __future__ import annotations

import re
from pathlib import Path


def tilde(text: str, home: Path | None = None) -> str:
    """`text` with the home folder (by default this user's) as `~`."""
    home = home or Path.home()
    if len(home.parts) < 2:  # a home of `/` would turn every path into nonsense
        return text
    return re.sub(rf"(?<![\w.-]){re.escape(str(home))}(?![\w.-])", "~", text)
