"""The same spans as NVTX ranges, in the domain `enginescope`: coloured by stage, the step number as payload.

Calls that nest are pushed and popped. A stretch of a coroutine is a start/end range: another may begin before it ends.
"""

from __future__ import annotations

import colorsys
import functools
from collections.abc import Callable
from typing import Any

import nvtx

from tracing import _recorder, recorder
from tracing.hooks import Wrap
from tracing.sites import ALL_SITES, Site

DOMAIN = "enginescope"
STAGES = tuple(dict.fromkeys(site.stage for site in ALL_SITES))


def color(stage: str) -> int:
    """A stage's colour as 0xRRGGBB: always the same, whatever else is recorded."""
    hue = STAGES.index(stage) * 47 % 360 / 360
    red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(hue, 0.6, 0.7))
    return red << 16 | green << 8 | blue


def message(site: str, request: str | None) -> str:
    return f"{site} {request}" if request else site


def ranged(site: Site, request_of: Callable[..., str | None], wrap: Wrap) -> Wrap:
    """`wrap` around a function that is a range while it runs."""
    shade = color(site.stage)

    def wrap_ranged(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def in_range(*args: Any, **kwargs: Any) -> Any:
            opened = _guarded(
                lambda: nvtx.push_range(
                    message(site.name, request_of(args, kwargs)), shade, DOMAIN, None, _recorder.step()
                )
            )
            try:
                return original(*args, **kwargs)
            finally:
                if opened:
                    nvtx.pop_range(DOMAIN)

        return wrap(in_range)

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
