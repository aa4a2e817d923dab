"""Where the programs that watch an engine are found, py-spy and nsys, and the Python that runs our own."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

# Where the current folder was left out (`python -P`), because it hides our packages, our children leave it out too.
OWN_PYTHON = (sys.executable, "-P") if sys.flags.safe_path else (sys.executable,)


def searched() -> str:
    """The folders in which a program is looked for: those of PATH, and the one beside this Python, which is in no PATH
    where the environment was not activated."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), sysconfig.get_path("scripts")])


def program(name: str, folders: str | None = None) -> Path | None:
    """A program in `folders`, by default those that are `searched`; None where there is none."""
    path = shutil.which(name, path=searched() if folders is None else folders)
    return Path(path) if path else None
