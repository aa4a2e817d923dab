"""What the recorder says of the whole run: `trace.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def trace_file(folder: Path) -> dict[str, Any]:
    """`trace.json`; empty where the recorder was killed before it wrote one."""
    try:
        values: dict[str, Any] = json.loads((folder / "trace.json").read_text())
    except (OSError, ValueError):
        return {}
    return values
