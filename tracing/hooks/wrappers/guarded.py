"""A wrapper that is a Python function, and what keeps its failures away from the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import _recorder, recorder

Special = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]

writing = _recorder.writing


def guarded(
    special: Special, original: Callable[..., Any], entering: Callable[[], bool] = writing
) -> Callable[..., Any]:
    """The wrapper that hands its calls to `special`, and to the original alone while nothing is written.

    `entering` tells which, and may delay a call before, as a `Hook` does itself.
    """

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return special(original, args, kwargs) if entering() else original(*args, **kwargs)

    return wrapper


def safely(write: Callable[..., None], *args: Any) -> None:
    """Write something down; where that fails the recorder stops, and the engine does not notice."""
    try:
        write(*args)
    except Exception as error:
        recorder.fail(error)
