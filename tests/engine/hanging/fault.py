"""The fault that an engine is asked for: a word in a file, whose neighbour tells that a process has come to it."""

from __future__ import annotations

import os
from pathlib import Path

FAULT = Path(os.environ.get("HANGING", os.devnull))
LOOP, LOCK, COLLECTION, SLOW, ASLEEP = "loop", "lock", "collection", "slow", "asleep"
COMPILES, KERNEL, FILE, NETWORK = "compiles", "in the kernel", "file", "network"
FIRST_ENGINE, SECOND_ENGINE, BOTH_ENGINES = "first of two engines", "second of two engines", "both engines"
LOST_TO_WORKER, LOST_TO_CORE = "lost to worker", "lost to core"
ZOMBIE, GONE = "dead worker", "gone worker"
EVENT_LOOP, DEAD_OUTPUT_THREAD = "event loop", "dead output thread"
KV_LOAD, KV_ARRIVAL, DEVICE = "KV load", "KV arrival", "device"
OVER = ""


def current() -> str:
    """The fault that is asked for."""
    return FAULT.read_text()


def reached() -> None:
    """Tell whoever asked for the fault that it has begun."""
    FAULT.with_suffix(".reached").touch()


def pipe(fault_file: Path = FAULT) -> Path:
    """Where a process waits that reads what nobody writes."""
    return fault_file.with_suffix(".pipe")
