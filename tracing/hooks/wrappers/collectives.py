"""The collectives of workers, by which ranks wait for each other: those that belong to a step have a span."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from .. import _recorder, stepnumber

step = _recorder.step


def in_steps(original: Callable[..., Any], hook: Callable[..., Any]) -> Callable[..., Any]:
    """The wrapper that hands a call within a step to `hook`; warm-up and groups of one rank have no span.

    A platform that compiles the model together with its collectives leaves nothing to hook: its compiler sees
    `original`.
    """
    is_compiling = sys.modules["torch"].compiler.is_compiling

    def wrapper(group: Any, *args: Any, **kwargs: Any) -> Any:
        if is_compiling() or group.world_size == 1 or step() == stepnumber.NONE:
            return original(group, *args, **kwargs)
        return hook(group, *args, **kwargs)

    return wrapper
