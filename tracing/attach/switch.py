"""The switch of a standing engine: on for as long as somebody looks, and no longer."""

from __future__ import annotations

import fcntl
import mmap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from probes.errors import EnginescopeError
from probes.processes.sidethread import beside
from tracing.attach.engine import StandingEngine
from tracing.events.standing import PAUSED, RECORDING, SWITCH, SWITCH_BYTES

LEASE_NS = 5_000_000_000  # after the last renewal: who turned it on may be killed
RENEWAL_S = 1.0
NS_PER_S = 1_000_000_000


@contextmanager
def turned_on(engine: StandingEngine) -> Iterator[int]:
    """Record until the block ends; gives when every process of the engine began to write, at the latest.

    A thread renews the lease, whatever the block waits for. EnginescopeError where another reader records already.
    """
    with (engine.folder / SWITCH).open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EnginescopeError(f"process {engine.standing.pid} is already being recorded: try later") from None
        with mmap.mmap(file.fileno(), SWITCH_BYTES.size) as state:
            SWITCH_BYTES.pack_into(state, 0, PAUSED, time.monotonic_ns() + LEASE_NS)
            state[0] = RECORDING  # one byte that all look at: on in the same instant
            on_ns = time.monotonic_ns()
            try:
                with beside(partial(_renew, state), "lease"):
                    yield on_ns
            finally:
                SWITCH_BYTES.pack_into(state, 0, PAUSED, 0)


def _renew(state: mmap.mmap, ended: threading.Event) -> None:
    """Keep it on for some seconds more, again and again."""
    while not ended.wait(RENEWAL_S):
        SWITCH_BYTES.pack_into(state, 0, RECORDING, time.monotonic_ns() + LEASE_NS)
