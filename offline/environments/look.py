"""What an interpreter has, printed as JSON by that interpreter itself, which gets this text: standard library only."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import platform
import sys

# What the process of an engine imports, beside the standard library and our own packages.
NEEDED = ("vllm", "torch", "numpy", "orjson", "psutil")


def look() -> dict[str, object]:
    """The interpreter's prefix, where `vllm` is imported from, distributions with versions, and what is missing."""
    specs = {name: importlib.util.find_spec(name) for name in NEEDED}
    versions: dict[str, str] = {}
    for each in importlib.metadata.distributions():
        name = each.metadata["Name"]
        if name:
            versions.setdefault(name, each.version)  # the first one on the path is the one that is imported
    vllm = specs["vllm"]
    return {
        "prefix": sys.prefix,
        "python": platform.python_version(),
        "vllm": vllm.origin if vllm else None,
        "missing": [name for name, spec in specs.items() if spec is None],
        "versions": versions,
    }


def say() -> None:
    """Print it."""
    print(json.dumps(look()))
