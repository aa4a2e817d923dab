"""Shells that lead process groups of their own, and waiting for what another process does."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from probes.processes.group import end_group

Start = Callable[..., subprocess.Popen[bytes]]


def until(condition: Callable[[], Any], limit_s: float = 120.0) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


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
