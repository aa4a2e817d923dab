"""Messages between front end and core: what carries a message's key, and what it held.

In the front end and on the wire a span's step is the key of the message, its timestamp in nanoseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...events.layout import STOPPED
from ...sites.engine import CODES
from .. import _recorder
from .guarded import Special, safely

now, set_step, span, numbers = _recorder.now, _recorder.set_step, _recorder.span, _recorder.numbers
Call = Callable[..., Any]


def key(timestamp: float) -> int:
    """A message's key, from its timestamp in seconds."""
    return int(timestamp * 1e9)


def _dequeue(original: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    start = now()
    result = original(*args, **kwargs)
    safely(_write_dequeued, args, start, now())
    return result


def _write_dequeued(args: tuple[Any, ...], start: int, end: int) -> None:
    kind, request = args[1].value, args[2]
    name = request[0].request_id if kind == b"\x00" else None  # ADD carries the request and its wave
    span(CODES["core.dequeue"], start, name, 0, kind[0], None, end)


def _encode_into(original: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    safely(lambda: set_step(key(args[1].timestamp)))
    start = now()
    result = original(*args, **kwargs)
    safely(lambda: span(CODES["core.encode"], start, None, sum(map(len, result))))
    return result


def _decode(original: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    start = now()
    result = original(*args, **kwargs)
    safely(_write_decoded, result, args, start, now())
    return result


def _write_decoded(result: Any, args: tuple[Any, ...], start: int, end: int) -> None:
    frames = args[1]
    size = len(frames) if isinstance(frames, bytes) else sum(map(len, frames))
    stamp = getattr(result, "timestamp", None)
    if stamp is not None:
        span(CODES["client.receive"], start, None, size, 0, key(stamp), end)
    else:
        span(CODES["core.receive"], start, getattr(result, "request_id", None), size, 0, -1, end)


def _process_outputs(original: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    stamp = args[2] if len(args) > 2 else kwargs.get("engine_core_timestamp")
    if stamp:
        safely(lambda: set_step(key(stamp)))
    start = now()
    try:
        result = original(*args, **kwargs)
        safely(_write_stopped, result)
        return result
    finally:
        safely(lambda: span(CODES["output.process"], start, None, len(args[1])))
        set_step(-1)


def _write_stopped(result: Any) -> None:
    """Those that the front end ended itself, at a stop string: the core has not finished them and is told to."""
    for request in result.reqs_to_abort:
        numbers(STOPPED, (request,))


WRITING: dict[str, Special] = {
    "core.dequeue": _dequeue,
    "core.encode": _encode_into,
    "core.receive": _decode,
    "output.process": _process_outputs,
}
