"""What `trace.json` says of a recording, when it begins and when it has ended."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path

from probes.machine import fingerprint
from tracing.events.tracefile import ENDED, TraceRecord, write_trace
from tracing.record.command import Watchers


def begin(folder: Path, command: str, watchers: Watchers) -> TraceRecord:
    """Write what is known from the beginning, and give it back for `end`."""
    trace = TraceRecord(command, **asdict(watchers), started=time.time(), machine=fingerprint())
    write_trace(folder, trace)
    return trace


def end(folder: Path, trace: TraceRecord, code: int, problems: list[str]) -> None:
    """Add how the recording ended."""
    write_trace(folder, replace(trace, state=ENDED, exit_code=code, problems=tuple(problems)))
