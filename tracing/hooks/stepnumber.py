"""The number of an engine step, on the objects that carry it: a scheduler's output, and the future of its result.

The core counts its steps where it schedules. A scheduler's output is pickled with its number to a worker in another
process; one that the worker makes itself, as Model Runner V2 does to warm up, has none.
"""

from __future__ import annotations

from typing import Any

from . import recorder

ATTRIBUTE = "enginescope_step"
NONE = -1


def put(carrier: Any, number: int) -> None:
    """Put a step's number on an object; where it takes no attribute its spans stay without one, which is said once."""
    try:
        setattr(carrier, ATTRIBUTE, number)
    except (AttributeError, TypeError):
        recorder.note(f"step number ({type(carrier).__name__} takes no attribute)")


def of(carrier: Any) -> int:
    """The number on an object, `NONE` where there is none."""
    number = getattr(carrier, ATTRIBUTE, NONE)
    return number if isinstance(number, int) else NONE
