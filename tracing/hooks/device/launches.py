"""Device time of this process: events behind what a step gives to the device (`_launches.c`). torch is not imported."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from ...events.layout import DEVICE
from .. import _recorder, recorder
from .eventcalls import EventCalls, EventMethods, runtime_calls

writing = _recorder.writing


def find_calls() -> EventCalls | None:
    """How to put events on this process's device; None without one: there torch's own cannot be recorded."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return None

    def make() -> Any:
        return torch.cuda.Event(enable_timing=True)

    try:
        event = make()
        event.record(None)
        event.query()
    except Exception:
        return None
    recorder.say(device="cuda" if torch.cuda.is_available() else "pretend")
    if hasattr(event, "cuda_event"):  # it is one of the runtime library's
        try:
            return runtime_calls(torch)
        except (AttributeError, OSError) as error:
            recorder.note(f"device events by the runtime library ({error}): torch's own are used, which cost more")
    return EventMethods(make).calls()


def give_up(calls: EventCalls, call: str, code: int) -> None:
    """Say why the device is not timed any more."""
    recorder.note(f"device time ({calls.words(call, code)})")


def fresh() -> _recorder.Launches:
    """A timer that has not looked for its device yet, which it does at its first step."""
    return _recorder.Launches(DEVICE, find_calls, give_up)


launches = fresh()


def begun(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose call is a launch."""

    @functools.wraps(function)
    def launch(*args: Any, **kwargs: Any) -> Any:
        if writing():  # else the thread's step is one of the last recording
            launches.begin(True)
        return function(*args, **kwargs)

    return launch
