"""The pretend device: an in-order queue that needs no thread, because it is a clock.

What is given to it ends at max(now, free) + work. Nothing waits until somebody asks for the result. Its events have the
interface of torch's device events, so that what times a device cannot tell which one it has.
"""

from __future__ import annotations

import time
from collections.abc import Callable

NS_PER_MS = 1e6


class PretendDevice:
    """A queue that works on one thing after the other; times are in ns of CLOCK_MONOTONIC."""

    def __init__(
        self, clock: Callable[[], int] = time.monotonic_ns, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.clock, self._sleep = clock, sleep
        self.free_ns = 0
        self.step = -1  # the number of the step that is being given to it
        self.on_wait: Callable[[int, int, int], None] = lambda step, begin_ns, end_ns: None

    def give(self, work_ns: int) -> tuple[int, int]:
        """Queue some work; when it begins and ends."""
        begin = self.horizon()
        self.free_ns = begin + work_ns
        return begin, self.free_ns

    def spin(self, cycles: int) -> None:
        """torch's kernel that does nothing for so many cycles: of this device one is a nanosecond."""
        self.give(cycles)

    def horizon(self) -> int:
        """When all that was queued has ended: now, or later."""
        return max(self.clock(), self.free_ns)

    def wait_until(self, end_ns: int, step: int) -> None:
        """Sleep until a moment of a step's; where it has not passed `on_wait` is told."""
        begin_ns = self.clock()
        if begin_ns < end_ns:
            self.on_wait(step, begin_ns, end_ns)
        while (left := end_ns - self.clock()) > 0:
            self._sleep(left / 1e9)


class PretendEvent:
    """An event with torch's interface: it comes when all that was queued before it has ended."""

    device = PretendDevice()  # the process's one device

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False) -> None:
        self.at_ns: int | None = None  # not recorded yet
        self.step = -1

    def record(self, stream: object = None) -> None:
        """Put the event into the queue."""
        self.step = self.device.step
        self.at_ns = self.device.horizon()

    def query(self) -> bool:
        """Whether all before it has ended; True, as torch has it, where it was never recorded."""
        return self.at_ns is None or self.device.clock() >= self.at_ns

    def synchronize(self) -> None:
        """Wait until all before it has ended."""
        if self.at_ns is not None:
            self.device.wait_until(self.at_ns, self.step)

    def wait(self, stream: object = None) -> None:
        """Later work waits for the event: in an in-order queue it does already."""

    def elapsed_time(self, end: PretendEvent) -> float:
        """Milliseconds from this event to `end`; RuntimeError, as in torch, where one has not come."""
        if self.at_ns is None or end.at_ns is None:
            raise RuntimeError("Both events must be recorded before calculating elapsed time.")
        if not (self.query() and end.query()):
            raise RuntimeError("Both events must be completed before calculating elapsed time.")
        return (end.at_ns - self.at_ns) / NS_PER_MS
