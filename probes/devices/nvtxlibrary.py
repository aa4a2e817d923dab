"""NVIDIA's library of the functions of NVTX, for those who do not compile its header in: which distribution has it."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

LIBRARY = "libnvtx3interop.so.1"
DISTRIBUTIONS = {"nvidia-nvtx-cu12": (12, 9), "nvidia-nvtx": (13,)}  # and the first version that has it
REMEDY = "pip install --no-deps 'nvidia-nvtx-cu12>=12.9'"


def library() -> Path:
    """Where the library is; OSError where no distribution has it."""
    for name in DISTRIBUTIONS:
        try:
            files = importlib.metadata.files(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for file in files:
            if file.name == LIBRARY:
                return Path(str(file.locate()))
    raise OSError(f"{LIBRARY} is not installed; {REMEDY}")
