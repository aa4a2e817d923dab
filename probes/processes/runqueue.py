"""How long a thread of ours has waited for a processor: what it read late, nobody sent late."""

from __future__ import annotations

from pathlib import Path

OWN_THREAD = Path("/proc/thread-self/schedstat")  # ns on a processor, ns in the run queue, turns


def queued_ns() -> int:
    """Of the calling thread, in nanoseconds since it began; 0 where the kernel does not tell."""
    try:
        return int(OWN_THREAD.read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
