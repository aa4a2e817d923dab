"""The same spans as NVTX ranges, in the domain `enginescope`: coloured by stage, the step number as payload.

Calls that nest are pushed and popped. A stretch of a coroutine is a start/end range: another may begin before it ends.
What is known only after a range, and the lists beside the spans, are marks: the `repr` of a list each (cheaper than
JSON), its first item one of the words below, with the step as payload. They make a capture readable without
the event files.

| mark | items |
| --- | --- |
| `told` | site, value, extra, request or null, 1 where it raised: of that function's last range on this thread |
| `instant` | the same, of a span without a range |
| `list` | list code, key, the items (of BATCH none: `kv.allocate` and `scheduler.preempt` say the same) |
| `process` | parent process, roles: some in a row, whose payload is CLOCK_MONOTONIC in nanoseconds |
"""

from __future__ import annotations

import colorsys
import functools
import gc
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import nvtx

from tracing import _recorder, recorder
from tracing.hooks import Wrap
from tracing.site import Site
from tracing.sites import ALL_SITES, GC_SITE, SCOPE_SITE

DOMAIN = "enginescope"
TOLD, INSTANT, LIST, PROCESS = "told", "instant", "list", "process"
CLOCK_MARKS = 10  # the more there are, the tighter they bound the offset between the two clocks
SCOPE = ALL_SITES.index(SCOPE_SITE)
STAGES = tuple(dict.fromkeys(site.stage for site in ALL_SITES))


def color(stage: str) -> int:
    """A stage's colour as 0xRRGGBB: always the same, whatever else is recorded."""
    hue = STAGES.index(stage) * 47 % 360 / 360
    red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(hue, 0.6, 0.7))
    return red << 16 | green << 8 | blue


def message(site: str, request: str | None) -> str:
    return f"{site} {request}" if request else site


class _Thread(threading.local):
    """Of one thread: how many ranges of `ranged` are open, and the marks that wait for the innermost to end."""

    def __init__(self) -> None:
        self.depth = 0
        self.waiting: list[tuple[list[Any], int]] = []


_thread = _Thread()


def ranged(site: Site, request_of: Callable[..., str | None], wrap: Wrap) -> Wrap:
    """`wrap` around a function, in a range while it runs: what the range costs is in neither its own time nor the
    span's."""
    shade = color(site.stage)

    def wrap_ranged(original: Callable[..., Any]) -> Callable[..., Any]:
        inner = wrap(original)

        @functools.wraps(original)
        def in_range(*args: Any, **kwargs: Any) -> Any:
            if not _recorder.writing():
                return original(*args, **kwargs)
            text = message(site.name, request_of(args, kwargs))
            _thread.depth += 1
            opened = _guarded(lambda: nvtx.push_range(text, shade, DOMAIN, None, _recorder.step()))
            try:
                return inner(*args, **kwargs)
            except BaseException:
                _thread.waiting.append(([TOLD, site.name, 0, 0, None, 1], _recorder.step()))
                raise
            finally:
                if opened:
                    nvtx.pop_range(DOMAIN)
                _thread.depth -= 1
                if _thread.waiting:
                    _emit_waiting()

        return in_range

    return wrap_ranged


def _guarded(begin: Callable[[], Any]) -> bool:
    """Begin a range; where that fails the recorder stops, and the engine does not notice."""
    try:
        begin()
    except Exception as error:
        recorder.fail(error)
        return False
    return True


def open_stretch(code: int, request: str | None) -> Any:
    """Begin the range of a stretch; give what comes back to `close_stretch`."""
    site = ALL_SITES[code]
    try:
        return nvtx.start_range(message(site.name, request), color(site.stage), DOMAIN, None, _recorder.step())
    except Exception as error:
        recorder.fail(error)
        return None


def close_stretch(opened: Any) -> None:
    nvtx.end_range(opened)


# --- marks ---


def heard() -> bool:
    """Whether a tool listens: the variable is that by which NVTX itself finds one, once. Else ranges are for nobody."""
    return "NVTX_INJECTION64_PATH" in os.environ


def mark(items: list[Any], payload: int) -> None:
    """A mark now, or at the end of the range that is open on this thread."""
    if _thread.depth:
        _thread.waiting.append((items, payload))
    else:
        _emit(items, payload)


def _emit_waiting() -> None:
    waiting, _thread.waiting = _thread.waiting, []
    for items, payload in waiting:
        _emit(items, payload)


def _emit(items: list[Any], payload: int) -> None:
    _guarded(lambda: nvtx.mark(repr(items), 0, DOMAIN, None, payload))


def process(serves: list[str]) -> None:
    """Say who this process is and what time it is, and mark its garbage collections from now on."""
    for _ in range(CLOCK_MARKS):
        mark([PROCESS, os.getppid(), *serves], _recorder.now())
    if _collection not in gc.callbacks:
        gc.callbacks.append(_collection)


def _collection(phase: str, _: dict[str, int]) -> None:
    if phase == "start":
        _guarded(lambda: nvtx.push_range(GC_SITE.name, color(GC_SITE.stage), DOMAIN, None, _recorder.step()))
    else:
        nvtx.pop_range(DOMAIN)


def span(
    code: int,
    start: int,
    request: str | None = None,
    value: Any = 0,
    extra: Any = 0,
    step: int | None = None,
    end: int = 0,
    raised: bool = False,
) -> None:
    """Write a span as the recorder does, and mark what its range could not know."""
    _recorder.span(code, start, request, value, extra, step, end, raised)
    if code != SCOPE:  # vLLM makes ranges of its scopes itself
        word = INSTANT if start == end else TOLD
        items = [word, ALL_SITES[code].name, value, extra, request, int(raised)]
        mark(items, _recorder.step() if step is None else step)


def numbers(code: int, values: Sequence[Any], key: int = 0) -> None:
    """Write a list as the recorder does, and as a mark."""
    _recorder.numbers(code, values, key)
    mark([LIST, code, key, *values], _recorder.step())


def telling(site: Site, read: Callable[..., tuple[Any, Any]]) -> Callable[..., tuple[Any, Any]]:
    """`read`, which reads a site's two numbers, marking them as well."""

    def told(*args: Any) -> tuple[Any, Any]:
        value, extra = read(*args)
        mark([TOLD, site.name, value, extra, None, 0], _recorder.step())
        return value, extra

    return told
