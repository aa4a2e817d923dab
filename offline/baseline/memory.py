"""The memory of a side while it runs a batch: looked at from outside, and never while a batch is timed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from probes.memory.footprint import footprint
from probes.processes.child import ChildProcess
from probes.processes.sidethread import beside

EVERY_S = 0.05


def resident_bytes(child: ChildProcess) -> int:
    """The memory of a program's processes; pages that they share are counted once where the kernel says which."""
    sizes = [footprint(process.pid) for process in child.members()]
    return sum(size.pss if size.pss is not None else size.rss for size in sizes if size is not None)


@contextmanager
def peak_bytes(child: ChildProcess) -> Iterator[list[int]]:
    """Looks of a thread of its own while the block runs, the first and the last of them at its ends."""
    looks = [resident_bytes(child)]

    def look(ended: threading.Event) -> None:
        while not ended.wait(EVERY_S):
            looks.append(resident_bytes(child))

    try:
        with beside(look, "memory"):
            yield looks
    finally:
        looks.append(resident_bytes(child))
