"""Shells that lead process groups of their own, and waiting for what another process does."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from probes.processes.group import end_group

T = TypeVar("T")
Start = Callable[..., subprocess.Popen[bytes]]


def until(condition: Callable[[], T], limit_s: float = 120.0) -> T:
    """Wait for what another process does; the condition's first value that is true."""
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return value


@contextmanager
def shells() -> Iterator[Start]:
    """Starts shells with a script and its arguments; none outlives the block."""
    started: list[subprocess.Popen[bytes]] = []

    def start(script: str, *arguments: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(["sh", "-c", script, "sh", *arguments], start_new_session=True))
        return started[-1]

    try:
        yield start
    finally:
        for shell in started:
            end_group(shell.pid)
            shell.wait()
