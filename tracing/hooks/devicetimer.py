"""When a device worked on what it was given: by events that are put before and after it, and asked for later.

Nothing here waits for the device. Where the device finishes before the host has launched everything, no event tells
when it worked in between; so beside the time of the last event stands when the host put it: from then on the device has
nothing to wait for. The device's clock is tied to this machine's by an anchor: an event that was put into
an empty queue, so that it came between two looks at the clock. The uncertainty of a time is that of its anchor, and
grows with the distance from it.

An event costs the host as much as a launch, so there are few: work that is given to a busy device begins when what was
given before it ends, and needs no event of its own.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

NS_PER_MS = 1e6
EVENT_NS = 500  # the resolution of CUDA's events
DRIFT = 20e-6  # by how much two quartz clocks may differ in speed
FLOAT = 2.0**-24  # torch gives the time between two events as a 32-bit float
ANCHOR_PERIOD_NS = 1_000_000_000
ANCHOR_LOOKS = 20  # how often an anchor is asked for before another try is left to a later step
NEAR_NS = 50_000  # an event put so shortly before a launch need not be put again; the work began later at most by this
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
    """What lies between two events, of one step; `given_ns` is when the host had launched all of it.

    Without an event before it, it began when what was given before it ended.
    """

    step: int
    begin: DeviceEvent | None
    end: DeviceEvent
    given_ns: int


@dataclass(frozen=True)
class BegunWork:
    """What is being launched: the event before it, if it needs one, put at `put_ns`; `close`: right before a launch."""

    step: int
    begin: DeviceEvent | None
    put_ns: int
    close: bool


class DeviceTimer:
    """Times one device's work; `write` gets a `DevicePiece` once it is known."""

    def __init__(
        self, make: Callable[[], DeviceEvent], clock: Callable[[], int], write: Callable[[DevicePiece], None]
    ) -> None:
        self._make, self._clock, self._write = make, clock, write
        self._spare: list[DeviceEvent] = []
        self._begun: BegunWork | None = None
        self._given: deque[GivenWork] = deque()
        self._last: GivenWork | None = None  # given last, and not read yet
        self._last_end_ns = 0  # of what was read last
        self._anchor: DeviceAnchor | None = None
        self._lock = threading.Lock()

    def begin(self, step: int, close: bool = False) -> None:
        """The step's next launches follow; `close` where they follow at once.

        Inside of what has begun only the first close one counts: nothing was launched before it.
        """
        begun = self._begun
        if begun is None or begun.step != step:
            self.read()
            self._renew_anchor()
            self._begun = self._begin(step, close)
        elif close and not begun.close:
            is_near = self._clock() - begun.put_ns <= NEAR_NS
            self._begun = replace(begun, close=True) if is_near else self._begin(step, close, begun.begin)

    def _begin(self, step: int, close: bool, event: DeviceEvent | None = None) -> BegunWork:
        """Work that begins now, or when the device ends what was given last; `event` was put too early."""
        last, now_ns = self._last, self._clock()
        if event is None and last is not None and not last.end.query():
            return BegunWork(step, None, now_ns, close)
        if event is not None:
            self._spare.append(event)
        return BegunWork(step, self._put(), now_ns, close)

    def end(self) -> None:
        """The launches that `begin` announced are over."""
        if self._begun is not None:
            begun, self._begun = self._begun, None
            given_ns = self._clock()
            self._last = GivenWork(begun.step, begun.begin, self._put(), given_ns)
            self._given.append(self._last)

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
        end_ns = _when(work.end, anchor)
        begin_ns = self._last_end_ns if work.begin is None else _when(work.begin, anchor)
        elapsed_ns = end_ns - anchor.at_ns
        uncertainty_ns = anchor.uncertainty_ns + EVENT_NS + round(elapsed_ns * (DRIFT + FLOAT))
        self._write(DevicePiece(work.step, begin_ns, end_ns, uncertainty_ns, work.given_ns))
        self._last_end_ns = end_ns
        if work is self._last:
            self._last = None
        if work.begin is not None:
            self._spare.append(work.begin)
        # The float's resolution stays that of a second where the device is never idle.
        if elapsed_ns > ANCHOR_PERIOD_NS:
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


def _when(event: DeviceEvent, anchor: DeviceAnchor) -> int:
    """When an event came, in ns of CLOCK_MONOTONIC."""
    return anchor.at_ns + round(anchor.event.elapsed_time(event) * NS_PER_MS)
