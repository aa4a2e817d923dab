"""The waiting requests of the baseline, and dynamic batching: what waits when the model is free runs together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class WaitingRequests(Generic[T]):
    """First come, first served; one thread takes batches, any thread adds."""

    most_rows: int
    wait_s: float
    entries: list[T] = field(default_factory=list)
    closed: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def add(self, entry: T) -> None:
        """Let a request wait; RuntimeError once the queue is closed."""
        with self._changed:
            if self.closed:
                raise RuntimeError("the serving is closed")
            self.entries.append(entry)
            self._changed.notify()

    def discard(self, entry: T) -> None:
        """Take a request out that nobody waits for any more; nothing where it runs already."""
        with self._changed:
            if entry in self.entries:
                self.entries.remove(entry)

    def take(self, count: Callable[[Sequence[T]], int]) -> list[T]:
        """Wait for requests, `wait_s` more for a full batch, and take the first `count(waiting)`; none once closed."""
        with self._changed:
            while not self.closed:
                self._changed.wait_for(lambda: self.entries or self.closed)
                self._fill()
                if self.entries and not self.closed:  # all may have been given up meanwhile
                    size = count(self.entries)
                    batch, self.entries[:] = self.entries[:size], self.entries[size:]
                    return batch
            return []

    def _fill(self) -> None:
        """Wait for a full batch, `wait_s` at most."""
        deadline = time.monotonic() + self.wait_s
        while len(self.entries) < self.most_rows and not self.closed:
            if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                break

    def close(self) -> list[T]:
        """Let no request in any more; those that still waited."""
        with self._changed:
            self.closed = True
            left, self.entries[:] = list(self.entries), []
            self._changed.notify_all()
            return left
