"""The step log: what each engine step scheduled, when it began and when it ended, written by the core itself.

vLLM's running gauge is read after the step and is what is left over; what ran is in the scheduler's output, so the hook
sits on `Scheduler.schedule` and `Scheduler.update_from_output`, and costs a few microseconds a step.
"""

from __future__ import annotations

import gc
import mmap
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..events.step import CAPACITY, COUNT, GC_PAUSE, HEADER, MAGIC, RECORD, STEP
from .complaint import complain
from .scheduling.counts import scheduled

GC_FLOOR_NS = 100_000  # shorter pauses are noise beside a step of milliseconds


class StepLogWriter:
    """Appends records to a mapped file: no system call a step, and what is written survives the process's death."""

    def __init__(self, folder: str) -> None:
        path = Path(folder, f"steps-{os.getpid()}.bin")
        size = HEADER.size + CAPACITY * RECORD.size
        with path.open("w+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)  # a full disk is an error here, not a SIGBUS in the engine later
            self.map = mmap.mmap(file.fileno(), size)
        self.count = 0
        self.pending: deque[tuple[int, ...]] = deque()
        self.pauses: deque[tuple[int, ...]] = deque()
        self.awaiting: set[str] = set()
        HEADER.pack_into(self.map, 0, MAGIC, 0, os.getpid())
        gc.callbacks.append(self._on_gc)
        self._gc_start = 0

    def append(self, *values: int) -> None:
        # A collection may start in the middle of this very method, so its callback only takes a note for the next call.
        while self.pauses:
            self._write(*self.pauses.popleft())
        self._write(*values)

    def _write(self, *values: int) -> None:
        RECORD.pack_into(self.map, HEADER.size + self.count % CAPACITY * RECORD.size, *values)
        self.count += 1
        # The count goes last: a reader never sees a record that is not whole.
        COUNT.pack_into(self.map, len(MAGIC), self.count)

    def _on_gc(self, phase: str, info: dict[str, int]) -> None:
        now = time.monotonic_ns()
        if phase == "start":
            self._gc_start = now
        elif now - self._gc_start >= GC_FLOOR_NS:
            self.pauses.append((GC_PAUSE, self._gc_start, now, 0, 0, 0, 0, info["generation"], 0, 0, 0))


_writer: StepLogWriter | None = None
_broken = False


def _fail(error: Exception) -> None:
    """Stop for good and say so once: a watcher never breaks inference."""
    global _broken
    _broken = True
    complain(f"the step log stopped: {type(error).__name__}: {error}")


def step_wrapper(method: str, folder: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def wrap_schedule(original: Callable[..., Any]) -> Callable[..., Any]:
        def schedule(self: Any, *args: Any, **kwargs: Any) -> Any:
            global _writer
            start = time.monotonic_ns()
            output = original(self, *args, **kwargs)
            if not _broken:
                try:
                    if _writer is None:
                        _writer = StepLogWriter(folder)
                    _writer.pending.append((start, *scheduled(self, output, _writer.awaiting)))
                except Exception as error:
                    _fail(error)
            return output

        return schedule

    def wrap_update(original: Callable[..., Any]) -> Callable[..., Any]:
        def update_from_output(self: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(self, *args, **kwargs)
            # Outputs come back in the order of scheduling, with a batch queue too: first in, first out.
            if _writer is not None and not _broken and _writer.pending:
                try:
                    start, *counts = _writer.pending.popleft()
                    _writer.append(STEP, start, time.monotonic_ns(), *counts)
                except Exception as error:
                    _fail(error)
            return result

        return update_from_output

    return wrap_schedule if method == "schedule" else wrap_update
