"""`trace.json` beside a synthetic trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from probes.machine import fingerprint
from tracing.events.tracefile import TraceRecord, write_trace


def recorded(folder: Path, **changes: Any) -> TraceRecord:
    """Write that a command was recorded on this machine and has ended."""
    plain = {"command": "python -m synthetic", "nvtx": False, "nsys": False, "py_spy": 0, "started": 0.0}
    trace = TraceRecord(**{**plain, "machine": fingerprint(), "state": "ended", "exit_code": 0, **changes})
    write_trace(folder, trace)
    return trace
