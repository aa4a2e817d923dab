"""What `trace.json` says of a recording, when it begins and when it has ended."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from probes.machine import fingerprint
from tracing.record.command import Watchers
from tracing.record.folder import SCHEMA, write
from tracing.record.spancost import ns_per_span, span_counts


def begin(folder: Path, command: str, watchers: Watchers) -> dict[str, Any]:
    """Write what is known from the beginning, and give it back for `end`."""
    trace = {"schema": SCHEMA, "command": command, **asdict(watchers)}
    trace |= {"started": time.time(), "machine": asdict(fingerprint())}
    write(folder, trace | {"state": "running"})
    return trace


def end(folder: Path, trace: dict[str, Any], code: int, problems: list[str], measures_cost: bool = True) -> None:
    """Add how the recording ended and, which takes a second, what a span costs here."""
    cost = ns_per_span(span_counts(folder)) if measures_cost else None
    write(folder, trace | {"state": "ended", "exit_code": code, "problems": problems, "ns_per_span": cost})
