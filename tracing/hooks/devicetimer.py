"""When a device worked on what it was given: by events that are put before and after it, and asked for later.

Nothing here waits for the device. Where the device finishes before the host has launched everything, no event tells
when it worked in between; so beside the time of the last event stands when the host put it: from then on the device has
nothing to wait for. The device's clock is tied to this machine's by an anchor: an event that was put into
an empty queue, so that it came between two looks at the clock. The uncertainty of a time is that of its anchor, and
grows with the distance from it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

NS_PER_MS = 1e6
EVENT_NS = 500  # the resolution of CUDA's events
DRIFT = 20e-6  # by how much two quartz clocks may differ in speed
FLOAT = 2.0**-24  # torch gives the time between two events as a 32-bit float
ANCHOR_PERIOD_NS = 1_000_000_000
ANCHOR_LOOKS = 20  # how often an anchor is asked for before another try is left to a later step
MOST_READ = 4  # pieces of work read at a time, so that no step pays for many


class DeviceEvent(Protocol):
    """The part of a torch event that is used here."""

    def record(self) -> None:
        """Put it into the queue of the current stream."""

    def query(self) -> bool:
        """Whether all before it is done."""

    def elapsed_time(self, end: DeviceEvent, /) -> float:
        """Milliseconds to a later event, of two that have come."""


@dataclass(frozen=True)
class DeviceAnchor:
    """An event and when it came, in ns of CLOCK_MONOTONIC; `looked_ns` is when that was last looked up, not derived."""

    event: DeviceEvent
    at_ns: int
    uncertainty_ns: int
    looked_ns: int


class DevicePiece(NamedTuple):
    """A piece of a device's work, in ns of CLOCK_MONOTONIC.

    It was busy for `end_ns - begin_ns` at most, and from `given_ns` to `end_ns` for sure.
    """

    step: int
    begin_ns: int
    end_ns: int
    uncertainty_ns: int  # of begin and end
    given_ns: int


@dataclass(frozen=True)
class GivenWork:
    """What lies between two events, of one step; `given_ns` is when the host had launched all of it."""

    step: int
    begin: DeviceEvent
    end: DeviceEvent
    given_ns: int


class DeviceTimer:
    """Times one device's work; `write` gets a `DevicePiece` once it is known."""

    def __init__(
        self, make: Callable[[], DeviceEvent], clock: Callable[[], int], write: Callable[[DevicePiece], None]
    ) -> None:
        self._make, self._clock, self._write = make, clock, write
        self._spare: list[DeviceEvent] = []
        self._begun: tuple[int, DeviceEvent] | None = None
        self._is_close = False  # whether the begin was put right before the first launch
        self._given: deque[GivenWork] = deque()
        self._anchor: DeviceAnchor | None = None
        self._lock = threading.Lock()

    def begin(self, step: int, close: bool = False) -> None:
        """The step's next launches follow; `close` where they follow at once.

        Inside of what has begun only the first close one counts: nothing was launched before it.
        """
        if self._begun is not None and self._begun[0] == step:
            if close and not self._is_close:
                self._begun[1].record()
                self._is_close = True
            return
        self.read()
        self._renew_anchor()
        self._begun, self._is_close = (step, self._put()), close

    def end(self) -> None:
        """The launches that `begin` announced are over."""
        if self._begun is not None:
            step, begin = self._begun
            self._begun = None
            given_ns = self._clock()
            self._given.append(GivenWork(step, begin, self._put(), given_ns))

    def read(self) -> None:
        """Write down what the device is done with; another thread may be at it already."""
        if self._anchor is None or not self._lock.acquire(blocking=False):
            return
        try:
            for _ in range(MOST_READ):
                if not self._given or not self._given[0].end.query():
                    return
                self._read(self._anchor, self._given.popleft())
        finally:
            self._lock.release()

    def _read(self, anchor: DeviceAnchor, work: GivenWork) -> None:
        begin_ns, end_ns = (
            anchor.at_ns + round(anchor.event.elapsed_time(event) * NS_PER_MS) for event in (work.begin, work.end)
        )
        elapsed_ns = end_ns - anchor.at_ns
        uncertainty_ns = anchor.uncertainty_ns + EVENT_NS + round(elapsed_ns * (DRIFT + FLOAT))
        self._write(DevicePiece(work.step, begin_ns, end_ns, uncertainty_ns, work.given_ns))
        self._spare.append(work.begin)
        if (
            elapsed_ns > ANCHOR_PERIOD_NS
        ):  # the float's resolution stays that of a second where the device is never idle
            self._spare.append(anchor.event)
            self._anchor = DeviceAnchor(work.end, end_ns, uncertainty_ns, anchor.looked_ns)
        else:
            self._spare.append(work.end)

    def _renew_anchor(self) -> None:
        """Take an anchor where the device is idle and the last one is old."""
        before = self._clock()
        if self._given or (self._anchor is not None and before - self._anchor.looked_ns < ANCHOR_PERIOD_NS):
            return
        event = self._put()
        for _ in range(ANCHOR_LOOKS):
            if event.query():
                after = self._clock()
                self._anchor = DeviceAnchor(event, (before + after) // 2, (after - before) // 2 + 1, after)
                return
        self._spare.append(event)

    def _put(self) -> DeviceEvent:
        event = self._spare.pop() if self._spare else self._make()
        event.record()
        return event
