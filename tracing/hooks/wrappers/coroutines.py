"""Wrappers of coroutines and async generators: a span for each segment that ran, none for what it waited."""

from __future__ import annotations

import itertools
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from typing import Any

from ...events.layout import CALLED, ENDED, SUSPENDED, YIELDED
from .. import _recorder
from .tracecontext import note_header

now, span, enter, cost = _recorder.now, _recorder.span, _recorder.enter, _recorder.cost
open_range, close_range = _recorder.open_range, _recorder.close_range
calls = itertools.count(1)  # a span's `extra` holds its call's number, twice, and 1 more where its output was the last
ranged = False  # whether NVTX ranges are made: a segment is too short for two calls that do nothing


def request_of(who: tuple[int, str, str | None] | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    if who is None:
        return None
    position, keyword, attribute = who
    argument = args[position] if len(args) > position else kwargs.get(keyword)
    request = getattr(argument, attribute, None) if attribute else argument
    return request if isinstance(request, str) else None


def coroutine(
    original: Callable[..., Coroutine[Any, Any, Any]], code: int, who: tuple[int, str, str | None] | None
) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        entered = enter(code)
        if not entered:
            return await original(*args, **kwargs)
        return await _driven(original(*args, **kwargs), code, request_of(who, args, kwargs), next(calls), entered)

    return wrapper


@types.coroutine
def _driven(
    inner: Any, code: int, request: str | None, call: int, entered: int = 0, *, closes: bool = False
) -> Generator[Any, Any, Any]:
    """Run `inner`, anything with `send` and `throw`, segment by segment; where it `closes`, its end yields nothing."""
    sent, error = None, None
    while True:
        start = now()
        try:
            waiting = _segment(inner, sent, error, code, request)
        except StopIteration as end:
            value, finished = (ENDED, 0) if closes else _ending(inner, end.value)
            span(code, start, request, value, call << 1 | finished)
            if entered > 1:
                cost(code, entered)
            return end.value
        except BaseException as raised:
            span(code, start, request, ENDED, call << 1, None, 0, not isinstance(raised, StopAsyncIteration))
            raise
        span(code, start, request, SUSPENDED, call << 1)
        if entered > 1:
            cost(code, entered)
        sent = error = None
        try:
            sent = yield waiting
        except BaseException as thrown:
            error = thrown
        entered = enter(code)


def _segment(inner: Any, sent: Any, error: BaseException | None, code: int, request: str | None) -> Any:
    """Let `inner` run until it waits again, in an NVTX range of its own where those are made."""
    opened = open_range(code, request) if ranged else 0
    try:
        return inner.send(sent) if error is None else inner.throw(error)
    finally:
        if opened:
            close_range(opened)


def _ending(inner: Any, result: Any) -> tuple[int, int]:
    """A coroutine's end is its end; a generator's step ends with a value for its caller."""
    if isinstance(inner, types.CoroutineType):
        return ENDED, 0
    return YIELDED, 1 if getattr(result, "finished", False) else 0


class Stream:
    """The wrapper of an async generator; what it gives is watched from the first one that is asked for while spans are
    written."""

    def __init__(self, inner: Any, code: int, request: str | None) -> None:
        self.inner, self.code, self.request, self.call = inner, code, request, next(calls)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    def __anext__(self) -> Any:
        entered = enter(self.code)
        if not entered:
            return self.inner.__anext__()
        return _driven(self.inner.__anext__(), self.code, self.request, self.call, entered)

    def asend(self, value: Any) -> Any:
        return _driven(self.inner.asend(value), self.code, self.request, self.call)

    def athrow(self, *error: Any) -> Any:
        return _driven(self.inner.athrow(*error), self.code, self.request, self.call)

    def aclose(self) -> Any:
        return _driven(self.inner.aclose(), self.code, self.request, self.call, closes=True)


def async_generator(original: Callable[..., Any], code: int, who: tuple[int, str, str | None]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        start, request = now(), request_of(who, args, kwargs)
        stream = Stream(original(*args, **kwargs), code, request)
        span(code, start, request, CALLED, stream.call << 1, None, start)
        if headers := kwargs.get("trace_headers"):
            note_header(request, headers)
        return stream

    return wrapper
