"""A device that is an in-order clock, with events behind its work."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import Any

from tracing.hooks.device.eventcalls import EventCalls

CLOCK = ctypes.CFUNCTYPE(ctypes.c_int64)
MS = 1_000_000


@dataclass
class Device:
    """Works on one thing after the other; `now` is the host's clock, and looking at it takes a moment."""

    now: int = 5_000 * MS
    free: int = 0
    busy: list[tuple[int, int]] = field(default_factory=list)
    made: int = 0  # events
    functions: list[Any] = field(default_factory=list)  # of C, which nothing else keeps
    recorded: int = 0  # how often one was, which costs the host a launch

    def clock(self) -> int:
        self.now += 1_000
        return self.now

    def work(self, ns: int) -> None:
        begin = max(self.now, self.free)
        self.free = begin + ns
        self.busy.append((begin, self.free))

    def event(self) -> Event:
        self.made += 1
        return Event(self)


class Event:
    def __init__(self, device: Device) -> None:
        self.device, self.at = device, 0

    def record(self, stream: object, /) -> None:
        self.device.recorded += 1
        self.at = max(self.device.now, self.device.free)

    def query(self) -> bool:
        return self.device.now >= self.at

    def elapsed_time(self, end: Event) -> float:
        assert self.query() and end.query(), "asked for a time that has not come"
        return (end.at - self.at) / MS


def by_clock(device: Device, calls: EventCalls | None) -> EventCalls | None:
    """The calls, with the device's clock as the host's."""
    clock = CLOCK(device.clock)
    device.functions.append(clock)
    return calls and calls._replace(clock=ctypes.cast(clock, ctypes.c_void_p).value or 0)
