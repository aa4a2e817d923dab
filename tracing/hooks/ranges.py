"""The same spans as NVTX ranges, in the domain `enginescope`: coloured by stage, the step number as payload.

The recorder makes them where it writes spans (`_nvtx.c`). A call's range is pushed and popped around the function
alone, so that what the recorder costs is not in it (where the wrapper is Python the range is in its span); a segment
of a coroutine is a start/end range: another may begin before it ends. A range about one request has its id in the
message. What is known only after a range, and the lists beside the spans, are marks: the `repr` of a list each, its
first item one of the words below, with the step as payload. They make a capture readable without the event files.

| mark | items |
| --- | --- |
| `told` | site, value, extra, request or None, 1 where it raised: of that function's last range on this thread |
| `instant` | the same, of a span without a range |
| `list` | list code, key, the items (of BATCH none: `kv.allocate` and `scheduler.preempt` say the same) |
| `process` | parent process, roles: some in a row at first, two each second, whose payload is CLOCK_MONOTONIC in ns |
"""

from __future__ import annotations

import colorsys
import gc
import os

from ..events.layout import DOMAIN, PROCESS
from ..sites.engine import ALL_SITES, CODES, GC_SITE, SCOPE_SITE
from . import _recorder, recorder

CLOCK_MARKS = 10  # at first; the more there are, the tighter they bound the offset between the two clocks
STAGES = tuple(dict.fromkeys(site.stage for site in ALL_SITES))
GC = CODES[GC_SITE.name]


def color(stage: str) -> int:
    """A stage's colour as 0xRRGGBB: always the same, whatever else is recorded."""
    hue = STAGES.index(stage) * 47 % 360 / 360
    red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(hue, 0.6, 0.7))
    return red << 16 | green << 8 | blue


def begin(library: str, serves: list[str]) -> None:
    """Make ranges from now on, saying who this process is and what time it is; OSError without a usable `library`."""
    named = [(None if site is SCOPE_SITE else site.name, color(site.stage)) for site in ALL_SITES]  # those vLLM makes
    _recorder.make_ranges(library, DOMAIN, named)
    mark_clock(serves, CLOCK_MARKS)
    recorder.each_second(_mark_again)
    if _collection not in gc.callbacks:
        gc.callbacks.append(_collection)


def mark_clock(serves: list[str], times: int = 2) -> None:
    """Marks with the time in them, in a row: each was made between the time in it and that in the next."""
    for _ in range(times):
        _recorder.mark(repr([PROCESS, os.getppid(), *serves]), _recorder.now())


def _mark_again() -> None:
    mark_clock(recorder.roles())


def _collection(phase: str, _: dict[str, int]) -> None:
    if phase == "start":
        _recorder.push_range(GC)
    else:
        _recorder.pop_range()
