"""Requests: the id that a caller gave and the one that vLLM gives, the children of a request with n > 1, and what a
request had computed that is preempted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...events.layout import CHILD, RENAMED
from ...events.step import BLOCKED, NOT_KNOWN
from ...sites.engine import CODES
from .. import _recorder
from .guarded import Special, safely

now, span, numbers = _recorder.now, _recorder.span, _recorder.numbers


def _assign_id(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    request = args[0] if args else kwargs.get("request")
    start, external = now(), getattr(request, "request_id", None)
    result = original(*args, **kwargs)
    safely(_write_assigned, request, external, start, now())
    return result


def _write_assigned(request: Any, external: str, start: int, end: int) -> None:
    numbers(RENAMED, (request.request_id, external))
    span(CODES["input.assign_id"], start, request.request_id, 0, 0, None, end)


def _register(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    start = now()
    result = original(*args, **kwargs)
    safely(_write_registered, args, kwargs, start, now())
    return result


def _write_registered(args: tuple[Any, ...], kwargs: dict[str, Any], start: int, end: int) -> None:
    request = args[1] if len(args) > 1 else kwargs["request"]
    parent = args[3] if len(args) > 3 else kwargs.get("parent_req")
    if parent is not None:
        numbers(CHILD, (request.request_id, parent.request_id))
    span(CODES["output.register"], start, request.request_id, 0, 0, None, end)


def _preempt(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    request = args[1] if len(args) > 1 else kwargs.get("request")
    start, computed = now(), getattr(request, "num_computed_tokens", 0)  # before it is forgotten
    result = original(*args, **kwargs)
    safely(_write_preempted, request, computed, start, now())
    return result


def _write_preempted(request: Any, computed: int, start: int, end: int) -> None:
    span(CODES["scheduler.preempt"], start, request.request_id, computed, 0, None, end)


class RemoteWaits:
    """Since when requests have been waiting for KV of another engine: the first step that found them so."""

    def __init__(self) -> None:
        self.since: dict[str, int] = {}

    def waited_ns(self, name: str, status: str) -> int:
        """How long a request has waited that has just been looked at; 0 where it does not wait for that."""
        at = now()
        if status == "WAITING_FOR_REMOTE_KVS":
            return at - self.since.setdefault(name, at)
        return at - self.since.pop(name, at)


remote_waits = RemoteWaits()


def looked_at(is_ready: bool, request: Any) -> tuple[int, int]:
    """What the scheduler's look at a waiting request says: how long it has waited for remote KV, and what keeps it."""
    status = request.status.name
    return remote_waits.waited_ns(request.request_id, status), 0 if is_ready else BLOCKED.get(status, NOT_KNOWN)


WRITING: dict[str, Special] = {
    "input.assign_id": _assign_id,
    "output.register": _register,
    "scheduler.preempt": _preempt,
}
