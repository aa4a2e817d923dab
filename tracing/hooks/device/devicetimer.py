"""When a device worked on what it was given: by an event that is put after it, and asked for later.

Nothing here waits for the device. A device works in order, so a piece of work begins when what was given before it
ends, or when the host begins to give it, whichever is later; no event is put for that, since one costs as much as a
launch. Where the device finishes before the host has launched everything, nothing tells when it worked in between; so
beside the time of the last event stands when the host put it: from then on the device has nothing to wait for.

The device's clock is tied to this machine's by an anchor: an event that was put into an empty queue, so that it came
between two looks at the clock. The uncertainty of a time is that of its anchor, and grows with the distance from it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

NS_PER_MS = 1e6
EVENT_NS = 500  # the resolution of CUDA's events
DRIFT = 20e-6  # by how much two quartz clocks may differ in speed
FLOAT = 2.0**-24  # torch gives the time between two events as a 32-bit float
ANCHOR_PERIOD_NS = 1_000_000_000
ANCHOR_LOOKS = 20  # how often an anchor is asked for before another try is left to a later step
SOON_NS = 100_000  # sampling that is launched so soon after the forward is of one piece with it
MOST_READ = 4  # pieces of work read at a time, so that no step pays for many
MOST_UNREAD = 4  # beyond these a step reads before it begins: where nothing waits for the device, nothing else reads


class DeviceEvent(Protocol):
    """The part of a torch event that is used here."""

    def record(self, stream: Any, /) -> None:
        """Put it into the stream's queue."""

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

    It was busy for `end_ns - begin_ns` at most, and from `given_ns` to `end_ns` for sure. An idle device begins a
    launch's latency after `begin_ns`.
    """

    step: int
    begin_ns: int
    end_ns: int
    uncertainty_ns: int  # of the end, and of a begin that is the end of what was given before
    given_ns: int


class BegunWork(NamedTuple):
    """What the host launches from `begun_ns` on; `close` where a launch follows at once."""

    step: int
    begun_ns: int
    close: bool


class GivenWork(NamedTuple):
    """What was given to the device between two looks at the host's clock, and the event behind it."""

    step: int
    begun_ns: int
    given_ns: int
    end: DeviceEvent


class DeviceTimer:
    """Times one device's work, which goes to `stream()`; `write` gets a `DevicePiece` once it is known."""

    def __init__(
        self,
        make: Callable[[], DeviceEvent],
        stream: Callable[[], Any],
        clock: Callable[[], int],
        write: Callable[[DevicePiece], None],
    ) -> None:
        self._make, self._stream, self._clock, self._write = make, stream, clock, write
        self._spare: list[DeviceEvent] = []
        self._begun: BegunWork | None = None
        self._paused_ns = 0  # since when the launches of what has begun rest; 0 where they do not
        self._given: deque[GivenWork] = deque()
        self._last_end_ns = 0  # of what was read last
        self._anchor: DeviceAnchor | None = None
        self._lock = threading.Lock()

    def begin(self, step: int, close: bool = False) -> None:
        """The step's next launches follow; `close` where they follow at once.

        Inside of what has begun only the first close one counts: nothing was launched before it.
        """
        if self._paused_ns:
            self._resume(step)
        begun = self._begun
        if begun is None or begun.step != step:
            self._begin(step, close)
        elif close and not begun.close:
            self._begun = BegunWork(step, self._clock(), close)

    def _begin(self, step: int, close: bool) -> None:
        now_ns = self._clock()
        is_due = self._anchor is None or now_ns - self._anchor.looked_ns > ANCHOR_PERIOD_NS
        if is_due or len(self._given) > MOST_UNREAD:
            self.read()
            if is_due and not self._given:  # the device is idle
                self._take_anchor()
            now_ns = self._clock()
        self._begun = BegunWork(step, now_ns, close)

    def pause(self) -> None:
        """More launches of this step follow, most often at once: an event between them would cost as much as one."""
        self._paused_ns = self._clock()

    def _resume(self, step: int) -> None:
        """What rested for long, or was of another step, is a piece of its own; its event comes late, and says so."""
        rested_ns, self._paused_ns = self._clock() - self._paused_ns, 0
        if self._begun is not None and (self._begun.step != step or rested_ns > SOON_NS):
            self.end()

    def end(self) -> None:
        """The launches that `begin` announced are over."""
        if self._begun is not None:
            begun, self._begun, self._paused_ns = self._begun, None, 0
            self._given.append(GivenWork(begun.step, begun.begun_ns, self._clock(), self._put()))

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
        elapsed_ns = round(anchor.event.elapsed_time(work.end) * NS_PER_MS)
        end_ns = anchor.at_ns + elapsed_ns
        begin_ns = min(max(work.begun_ns, self._last_end_ns), end_ns)
        uncertainty_ns = anchor.uncertainty_ns + EVENT_NS + round(elapsed_ns * (DRIFT + FLOAT))
        self._write(DevicePiece(work.step, begin_ns, end_ns, uncertainty_ns, work.given_ns))
        self._last_end_ns = end_ns
        # The float's resolution stays that of a second where the device is never idle.
        if elapsed_ns > ANCHOR_PERIOD_NS:
            self._spare.append(anchor.event)
            self._anchor = DeviceAnchor(work.end, end_ns, uncertainty_ns, anchor.looked_ns)
        else:
            self._spare.append(work.end)

    def _take_anchor(self) -> None:
        """Put an event into the empty queue, and see it come."""
        before = self._clock()
        event = self._put()
        for _ in range(ANCHOR_LOOKS):
            if event.query():
                after = self._clock()
                self._anchor = DeviceAnchor(event, (before + after) // 2, (after - before) // 2 + 1, after)
                return
        self._spare.append(event)

    def _put(self) -> DeviceEvent:
        event = self._spare.pop() if self._spare else self._make()
        event.record(self._stream())
        return event
