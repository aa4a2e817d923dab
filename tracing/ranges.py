"""The same spans as NVTX ranges, in the domain `enginescope`: coloured by stage, the step number as payload.

Calls that nest are pushed and popped. A stretch of a coroutine is a start/end range: another may begin before it ends.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import nvtx

from tracing import _recorder
from tracing.hooks import Wrap
from tracing.sites import ALL_SITES, Site

DOMAIN = "enginescope"
COLORS = ("blue", "green", "orange", "purple", "cyan", "yellow", "red", "magenta", "lime", "brown")
STAGES = tuple(dict.fromkeys(site.stage for site in ALL_SITES))


def color(stage: str) -> str:
    """A stage's colour: always the same, whatever else is recorded."""
    return COLORS[STAGES.index(stage) % len(COLORS)]


def message(site: str, request: str | None) -> str:
    return f"{site} {request}" if request else site


def ranged(site: Site, request_of: Callable[..., str | None], wrap: Wrap) -> Wrap:
    """`wrap` around a function that is a range while it runs."""
    shade = color(site.stage)

    def wrap_ranged(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def in_range(*args: Any, **kwargs: Any) -> Any:
            nvtx.push_range(message(site.name, request_of(args, kwargs)), shade, DOMAIN, None, _recorder.step())
            try:
                return original(*args, **kwargs)
            finally:
                nvtx.pop_range(DOMAIN)

        return wrap(in_range)

    return wrap_ranged


def open_stretch(code: int, request: str | None) -> Any:
    """Begin the range of a stretch; give what comes back to `close_stretch`."""
    site = ALL_SITES[code]
    return nvtx.start_range(message(site.name, request), color(site.stage), DOMAIN, None, _recorder.step())


def close_stretch(opened: Any) -> None:
    nvtx.end_range(opened)
