"""The switch of a standing engine: on for as long as somebody looks, and no longer."""

from __future__ import annotations

import fcntl
import mmap
import time
from collections.abc import Iterator
from contextlib import contextmanager

from probes.errors import EnginescopeError
from tracing.attach.engine import StandingEngine
from tracing.events.standing import PAUSED, RECORDING, SWITCH, SWITCH_BYTES

LEASE_NS = 5_000_000_000  # after the last renewal: who turned it on may be killed
NS_PER_S = 1_000_000_000


class Switch:
    """A switch that was turned on; `on_ns` is when every process of the engine began to write, at the latest."""

    def __init__(self, state: mmap.mmap) -> None:
        self._state = state
        self.on_ns = time.monotonic_ns()

    def renew(self) -> None:
        """Keep it on for some seconds more."""
        SWITCH_BYTES.pack_into(self._state, 0, RECORDING, time.monotonic_ns() + LEASE_NS)


@contextmanager
def turned_on(engine: StandingEngine) -> Iterator[Switch]:
    """Record until the block ends; EnginescopeError where another reader already does."""
    with (engine.folder / SWITCH).open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EnginescopeError(f"somebody else records process {engine.standing.pid} now: wait for them") from None
        with mmap.mmap(file.fileno(), SWITCH_BYTES.size) as state:
            SWITCH_BYTES.pack_into(state, 0, PAUSED, time.monotonic_ns() + LEASE_NS)
            state[0] = RECORDING  # one byte that all look at: on in the same instant
            try:
                yield Switch(state)
            finally:
                SWITCH_BYTES.pack_into(state, 0, PAUSED, 0)
