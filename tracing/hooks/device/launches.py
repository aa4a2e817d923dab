"""Device time of this process: events behind what a step gives to the device (`_launches.c`). torch is not imported."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from ...events.layout import DEVICE, UNTIMED
from .. import _recorder, recorder
from .eventcalls import EventCalls, EventMethods, runtime_calls

writing = _recorder.writing


def find_calls() -> EventCalls | None:
    """How to put events on this process's device; None without one: there torch's own cannot be recorded.

    Which device there is, is said before anything of it is tried: a launch is a launch, whether it can be timed or not.
    """
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return None
    kind = accelerator(torch)
    if kind:
        recorder.say(device=kind)

    def make() -> Any:
        return torch.cuda.Event(enable_timing=True)

    try:
        event = make()
        event.record(None)
        event.query()
    except Exception as error:
        if kind:
            recorder.note(f"{UNTIMED} ({type(error).__name__}: {error})")
        return None
    if not kind:
        recorder.say(device="pretend")
    if hasattr(event, "cuda_event"):  # it is one of the runtime library's
        try:
            return runtime_calls(torch)
        except (AttributeError, OSError) as error:
            recorder.note(f"device events by the runtime library ({error}): torch's own are used, which cost more")
    return EventMethods(make).calls()


def accelerator(torch: Any) -> str | None:
    """The kind of device that a worker launches on; AMD's is cuda to torch. None on a CPU."""
    for kind in ("cuda", "xpu"):
        is_available = getattr(getattr(torch, kind, None), "is_available", None)
        if is_available and is_available():
            return kind
    return None


def give_up(calls: EventCalls, call: str, code: int) -> None:
    """Say why the device is not timed any more."""
    recorder.note(f"{UNTIMED} ({calls.words(call, code)})")


def fresh() -> _recorder.Launches:
    """A timer that has not looked for its device yet, which it does at its first launch."""
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
