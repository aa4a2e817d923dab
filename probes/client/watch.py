"""The time-outs of one attempt, by one timer: a piece of a stream moves a number, and no timer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Time-outs in seconds: to connect, to the first token, between two events of a stream, and in all."""

    connect_s: float
    first_token_s: float
    gap_s: float
    total_s: float


class Watch:
    """Calls `expire` with what took too long; `since_ns` is when the last sign of progress came."""

    def __init__(self, began_ns: int, total_s: float, expire: Callable[[str], None]) -> None:
        self._loop, self._expire = asyncio.get_running_loop(), expire
        self._end_ns = began_ns + round(total_s * 1e9)
        self._timer: asyncio.TimerHandle | None = None

    def allow(self, what: str, limit_s: float, since_ns: int) -> None:
        """From now on `what` may take `limit_s` after each sign of progress, inside what is left in all."""
        self._what, self._limit_ns, self.since_ns = what, round(limit_s * 1e9), since_ns
        if self._timer is None or since_ns + self._limit_ns < self._due_ns:  # else it looks early enough
            self.stop()
            self._look()

    def stop(self) -> None:
        """No time-out any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._due_ns = min(self.since_ns + self._limit_ns, self._end_ns)
        left_ns = self._due_ns - time.monotonic_ns()
        if left_ns > 0:
            self._timer = self._loop.call_later(left_ns / 1e9, self._look)
        else:
            self._expire("in all" if self._due_ns == self._end_ns else self._what)
