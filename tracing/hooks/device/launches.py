"""Device time of this process: torch's events around what a step gives to the device. torch is not imported here."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from ...events.layout import DEVICE
from .. import _recorder, recorder
from .devicetimer import DevicePiece, DeviceTimer

HALF = 32  # bits of a list's integers
LOW = (1 << HALF) - 1


class Launches:
    """The timer of this process's device: looked for at its first step, None where there is no device."""

    def __init__(self) -> None:
        self.timer: DeviceTimer | None = None
        self.sought = False

    def begin(self, close: bool = False) -> None:
        """The thread's step, if it is one of the core's, launches something now; `close` where nothing is between."""
        step = _recorder.step()
        if step < 0:  # to warm up or to capture graphs, in which a timed event has no place
            return
        if not self.sought:
            self.sought = True
            self.timer = find_timer()
        if self.timer is not None:
            try:
                self.timer.begin(step, close)
            except Exception as error:
                self._give_up(error)

    def pause(self) -> None:
        if self.timer is not None:
            try:
                self.timer.pause()
            except Exception as error:
                self._give_up(error)

    def end(self) -> None:
        if self.timer is not None:
            try:
                self.timer.end()
            except Exception as error:
                self._give_up(error)

    def read(self) -> None:
        if self.timer is not None:
            try:
                self.timer.read()
            except Exception as error:
                self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """The device is not timed any more, and all else is recorded as before."""
        self.timer = None
        recorder.note(f"device time ({type(error).__name__}: {error})")


launches = Launches()
writing = _recorder.writing


def find_timer() -> DeviceTimer | None:
    """A timer by torch's device events, if they work here: on a machine without a device they cannot be recorded."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return None

    def make() -> Any:
        return torch.cuda.Event(enable_timing=True)

    stream = current_stream(torch)
    try:
        event = make()
        event.record(stream())
        event.query()
    except Exception:
        return None
    recorder.say(device="cuda" if torch.cuda.is_available() else "pretend")
    return DeviceTimer(make, stream, _recorder.now, write_device)


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


def write_device(piece: DevicePiece) -> None:
    """List a piece of the device's work: three times of 64 bits in halves, the low one first, and the uncertainty."""
    step, begin, end, uncertainty, given = piece
    halves = (begin & LOW, begin >> HALF, end & LOW, end >> HALF, given & LOW, given >> HALF)
    _recorder.numbers(DEVICE, (*halves, min(uncertainty, LOW)), 0, step)


def begun(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose call is a launch."""

    @functools.wraps(function)
    def launch(*args: Any, **kwargs: Any) -> Any:
        if writing():  # else the thread's step is one of the last recording
            launches.begin(close=True)
        return function(*args, **kwargs)

    return launch
