"""The file by which an engine is asked for delays, as the side that asks sees it."""

from __future__ import annotations

import mmap
import sys
import time
from pathlib import Path

from tracing.events.delays import LEASE_NS, NOTHING, RECORD
from tracing.sites.engine import CODES

UNTIL, SITE = slice(0, 8), slice(28, 30)  # the places of two fields in the record


class DelayFile:
    """Asks all processes of an engine for delays; a context manager, after which nothing is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), RECORD.size)

    def __enter__(self) -> DelayFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()
        self._map.close()

    def put(self, site: str, kind: int, length_ns: int, phase: int, pid: int = 0) -> None:
        """Delay each call of a site from now on, for one lease, in one process or (0) in all.

        The site goes in last: a process that finds it finds the rest as well.
        """
        switch_ns = round(sys.getswitchinterval() * 1e9)
        record = RECORD.pack(time.monotonic_ns() + LEASE_NS, length_ns, switch_ns, phase, CODES[site], kind, pid)
        self.clear()
        self._map[: SITE.start] = record[: SITE.start]
        self._map[SITE.stop :] = record[SITE.stop :]
        self._map[SITE] = record[SITE]

    def renew(self) -> None:
        """Let the lease run on from now."""
        self._map[UNTIL] = (time.monotonic_ns() + LEASE_NS).to_bytes(8, sys.byteorder)

    def clear(self) -> None:
        """Ask for nothing."""
        self._map[SITE] = NOTHING[SITE]
