"""Synthetic torch traces with known operators and kernels, in the Chrome trace format as torch 2.13 writes it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

BASE_NS = 1_790_857_026_000_000_000  # `baseTimeNanoseconds` of the installed torch
AHEAD_NS = 1_795_231_224_000_000_000  # the wall clock less CLOCK_MONOTONIC, as on a machine of that year


def event(cat: str, name: str, start_ns: int, end_ns: int, pid: int = 12, tid: int = 1, **args: int) -> dict[str, Any]:
    """One event; times are of CLOCK_MONOTONIC, ids are the process and thread, or the device and stream."""
    values = {"ph": "X", "cat": cat, "name": name, "pid": pid, "tid": tid}
    values |= {"ts": (start_ns + AHEAD_NS - BASE_NS) / 1000, "dur": (end_ns - start_ns) / 1000}
    return values | ({"args": args} if args else {})


def write(path: Path, events: Iterable[dict[str, Any]], base_ns: int | None = BASE_NS, base_last: bool = False) -> Path:
    """A trace file, packed where its name ends in .gz; `base_ns` None leaves `baseTimeNanoseconds` out, `base_last`
    puts it after the events."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = {"schemaVersion": 1, "deviceProperties": [], "distributedInfo": {"rank": 0, "pg_config": [{"ranks": [0]}]}}
    base = {} if base_ns is None else {"baseTimeNanoseconds": base_ns}
    named = [{"ph": "M", "name": "process_name", "ts": 1.5, "pid": 12, "tid": 0, "args": {"name": "python"}}]
    body = {"traceEvents": [*named, *events], "traceName": path.name}
    text = json.dumps(head | (body | base if base_last else base | body), indent=1).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path
