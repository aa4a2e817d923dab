"""Where the programs that watch an engine are found: py-spy, nsys."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path


def searched() -> str:
    """The folders in which a program is looked for: those of PATH, and the one beside this Python, which is in no PATH
    where the environment was not activated."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), sysconfig.get_path("scripts")])


def program(name: str, folders: str | None = None) -> Path | None:
    """A program in `folders`, by default those that are `searched`; None where there is none."""
    path = shutil.which(name, path=searched() if folders is None else folders)
    return Path(path) if path else None
