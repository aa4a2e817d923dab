"""The C functions by which events are put on this process's device and asked for: what `_launches.c` calls.

They are those of CUDA's or HIP's runtime library, in the copy that torch is linked to. Where one is missing, or other
events stand in the place of torch's, they are the events' methods behind functions of the same form, through Python.
torch is not imported here.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

NOT_READY, FAILED = 600, 999  # CUDA's codes; HIP has the same


class EventCalls(NamedTuple):
    """Addresses of functions, in the form of CUDA's; all but the clock's give 0 or a code.

    `device` gives the number of the thread's device and `stream` the address of its stream there; both are None where
    `record` asks for it by itself.
    """

    create: int  # (event *)
    record: int  # (event, stream)
    query: int  # (event)
    elapsed: int  # (float *ms, event, event)
    clear: int  # (): forget the thread's last error; 0: there is none
    clock: int  # (): ns of CLOCK_MONOTONIC; 0: the recorder's own
    device: Callable[[], int] | None
    stream: Callable[[int], int] | None
    words: Callable[[str, int], str]  # what a failed call and its code mean


class DeviceEvent(Protocol):
    """The part of a torch event that is used here."""

    def record(self, stream: Any, /) -> None:
        """Put it into the stream's queue."""

    def query(self) -> bool:
        """Whether all before it is done."""

    def elapsed_time(self, end: DeviceEvent, /) -> float:
        """Milliseconds to a later event, of two that have come."""


def runtime_calls(torch: Any) -> EventCalls:
    """Those of the runtime library; OSError or AttributeError that names what is missing.

    They are looked up from torch's own extension module, through what it is linked to: a process may have loaded others
    of that name (TileLang's `libcudart_stub.so`, another CUDA's), and which of them is first in memory is chance.
    """
    inside, prefix = torch._C, "hip" if torch.version.hip else "cuda"
    library = ctypes.CDLL(inside.__file__, os.RTLD_NOLOAD)
    error_string = library[f"{prefix}GetErrorString"]
    error_string.restype = ctypes.c_char_p

    def address(name: str) -> int:
        return ctypes.cast(library[prefix + name], ctypes.c_void_p).value or 0

    def words(call: str, code: int) -> str:
        return f"{prefix}{call}: {error_string(code).decode()}"

    names = ("EventCreate", "EventRecord", "EventQuery", "EventElapsedTime", "GetLastError")
    create, record, query, elapsed, clear = map(address, names)
    device, stream = inside._cuda_getDevice, inside._cuda_getCurrentRawStream
    return EventCalls(create, record, query, elapsed, clear, 0, device, stream, words)


CREATE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_void_p))
RECORD = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
QUERY = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
ELAPSED = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_float), ctypes.c_void_p, ctypes.c_void_p)


class EventMethods:
    """Events of torch's interface, numbered from 1, and their methods as functions of C."""

    def __init__(self, make: Callable[[], DeviceEvent]) -> None:
        self._make = make
        self._events: list[DeviceEvent] = []
        self._error: Exception | None = None
        self._functions = (CREATE(self.create), RECORD(self.record), QUERY(self.query), ELAPSED(self.elapsed))

    def calls(self) -> EventCalls:
        """Their addresses, which hold as long as this does: `words` keeps it."""
        create, record, query, elapsed = (ctypes.cast(each, ctypes.c_void_p).value or 0 for each in self._functions)
        return EventCalls(create, record, query, elapsed, 0, 0, None, None, self.words)

    def create(self, place: Any) -> int:
        def create() -> None:
            self._events.append(self._make())
            place[0] = len(self._events)

        return self._code(create)

    def record(self, event: int, _: int) -> int:
        def record() -> None:
            self._events[event - 1].record(None)

        return self._code(record)

    def query(self, event: int) -> int:
        return self._code(lambda: 0 if self._events[event - 1].query() else NOT_READY)

    def elapsed(self, place: Any, begin: int, end: int) -> int:
        def elapsed() -> None:
            place[0] = self._events[begin - 1].elapsed_time(self._events[end - 1])

        return self._code(elapsed)

    def words(self, call: str, code: int) -> str:
        return f"{type(self._error).__name__}: {self._error}"

    def _code(self, act: Callable[[], int | None]) -> int:
        """What `act` gives; an exception cannot pass through C."""
        try:
            return act() or 0
        except Exception as error:
            self._error = error
            return FAILED
