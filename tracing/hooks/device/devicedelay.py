"""Delays on this process's device: kernels of a known length, put into the current stream before a stage's launches.

torch's `_sleep` counts the device's cycles, of which there are more in a nanosecond when its clock is fast. So one
kernel at a time has events around it, and nobody waits for them: what was seen of earlier kernels tells how many cycles
the next one gets, and how long it takes. torch is not imported here.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from typing import Any

from ...events.layout import DELAYED
from .. import _recorder, recorder
from .eventcalls import DeviceEvent

NS_PER_MS = 1e6
FIRST_GUESS = 1.0  # cycles in a nanosecond, until a kernel was seen
LATEST = 8  # kernels that tell the clock
LEAST_TIMED_NS = 50_000  # of a delay that does: an event comes within half a microsecond
TIMED_EACH = 4  # one in so many is timed once the clock is known: it costs the host four times as much
COVER = 4  # which part of it goes before the events: the device works while the host puts them


class DeviceDelay:
    """Puts delays on one device, into `stream()`: `make` makes its timed events, `spin` a kernel of so many cycles."""

    def __init__(self, make: Callable[[], DeviceEvent], stream: Callable[[], Any], spin: Callable[[int], None]) -> None:
        self._stream, self._spin = stream, spin
        self._begin, self._end = make(), make()
        self._timed_cycles = 0  # of the kernel between the two events; 0: there is none
        self._untimed = 0  # delays since the last one that was timed
        self._seen: deque[float] = deque(maxlen=LATEST)  # cycles in a nanosecond

    def put(self, length_ns: int) -> int:
        """Put a delay of about this length, and give the one that it has, as far as the device's clock keeps its speed;
        0 while no kernel was seen to end."""
        self._look()
        rate = max(self._seen, default=FIRST_GUESS)  # what a host launches late seems slower, never faster
        cycles = max(1, round(length_ns * rate))
        self._untimed += 1
        is_known = len(self._seen) == LATEST and self._untimed < TIMED_EACH
        if self._timed_cycles or is_known or length_ns < LEAST_TIMED_NS:
            self._spin(cycles)
        else:
            self._put_timed(cycles)
            self._untimed = 0
        return round(cycles / rate) if self._seen else 0

    def _put_timed(self, cycles: int) -> None:
        cover, stream = cycles // COVER, self._stream()
        self._spin(cover)
        self._begin.record(stream)
        self._spin(cycles - cover)
        self._end.record(stream)
        self._timed_cycles = cycles - cover

    def _look(self) -> None:
        if self._timed_cycles and self._end.query():
            self._seen.append(self._timed_cycles / (self._begin.elapsed_time(self._end) * NS_PER_MS))
            self._timed_cycles = 0


class DeviceDelays:
    """The delays of this process's device, which is looked for when the first is asked for."""

    def __init__(self) -> None:
        self.device: DeviceDelay | None = None
        self.sought = False

    def put(self, site: int, phase: int, length_ns: int) -> None:
        """Put one, and write it down. Where that fails none is put any more, and all else goes on."""
        try:
            if not self.sought:
                self.sought = True
                self.device = torch_delay()
            if self.device and (achieved_ns := self.device.put(length_ns)):
                _recorder.numbers(DELAYED, (site, phase, achieved_ns))
        except Exception as error:
            self.device = None
            recorder.note(f"delays on the device ({type(error).__name__}: {error})")


def torch_delay() -> DeviceDelay:
    """By torch's events and its kernel that spins; raises where they do not work here."""
    torch: Any = sys.modules["torch"]
    cuda = torch.cuda
    return DeviceDelay(lambda: cuda.Event(enable_timing=True), current_stream(torch), cuda._sleep)


def current_stream(torch: Any) -> Callable[[], Any]:
    """What gives the thread's stream; torch's own answer builds a new object, which costs more than an event does."""
    inside = getattr(torch, "_C", None)
    device_of, address_of = (getattr(inside, name, None) for name in ("_cuda_getDevice", "_cuda_getCurrentRawStream"))
    if device_of is None or address_of is None:  # a build without devices, or another torch: an event asks by itself
        return lambda: None
    streams: dict[tuple[int, int], Any] = {}

    def stream() -> Any:
        key = (device := device_of(), address_of(device))
        known = streams.get(key)
        if known is None:
            known = streams[key] = torch.cuda.current_stream()
        return known

    return stream
