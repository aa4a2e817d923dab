"""What the recorder costs, measured beside a recording."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable

from tracing.events import layout
from tracing.hooks import _recorder

ROUNDS, CALLS = 10, 2000


def ns_per_span() -> float | None:
    """What one span costs on this machine now: the median of some rounds of a hooked function that does nothing.

    It is a span without request or numbers, the cheapest kind. None where the disk has no room for an event file.
    """

    def nothing(argument: object) -> None:
        return None

    hooked = _recorder.Hook(nothing, 0)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            _recorder.start(f"{scratch}/events.bin", layout.SCHEMA, 0)
            rounds = [_added_ns(nothing, hooked) for _ in range(ROUNDS)]
            _recorder.stop()
    except OSError:
        return None
    return round(statistics.median(rounds), 1)


def _added_ns(plain: Callable[[object], None], hooked: Callable[[object], None]) -> float:
    """Nanoseconds a call that the hook adds."""
    times = []
    for function in (plain, hooked):
        start = _recorder.now()
        for _ in range(CALLS):
            function(None)
        times.append(_recorder.now() - start)
    return (times[1] - times[0]) / CALLS
