"""The event loop of a client that has much to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


def quick_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed (vLLM brings it), which leaves more of a core to the streams; else asyncio's own."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = new_event_loop
    return factory
