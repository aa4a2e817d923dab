"""Since when each request of a standing core is there: written down for those that run for long."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from ...events import pinned
from ...events.pinned import PinnedRequest
from .. import _recorder, recorder
from .guarded import safely

LONG_NS = 5_000_000_000  # who has run for so long is written down: the texts beside a ring hold the others

_live: dict[str, PinnedRequest] = {}
_written: set[str] = set()


def adding(original: Callable[..., Any]) -> Callable[..., Any]:
    """The wrapper of what takes a request into the scheduler: scheduler, request."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        safely(_begin, args, kwargs)
        return original(*args, **kwargs)

    return wrapper


def freeing(original: Callable[..., Any]) -> Callable[..., Any]:
    """The wrapper of what lets go of one."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        safely(_end, args, kwargs)
        return original(*args, **kwargs)

    return wrapper


def _request_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[1] if len(args) > 1 else kwargs["request"]


def _begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Its arrival, which the front end has by the wall clock, by ours."""
    request = _request_of(args, kwargs)
    ago_ns = round((time.time() - request.arrival_time) * 1e9)
    _live.setdefault(request.request_id, PinnedRequest(_recorder.now() - ago_ns, request.num_prompt_tokens))


def _end(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    _live.pop(_request_of(args, kwargs).request_id, None)


def write() -> None:
    """Write those down that have run for long, where they are others than the last time."""
    before_ns = _recorder.now() - LONG_NS
    pins = {name: pin for name, pin in list(_live.items()) if pin.begin_ns < before_ns}
    if pins.keys() != _written:
        _written.clear()
        _written.update(pins)
        pinned.write(recorder.folder(), os.getpid(), pins)
