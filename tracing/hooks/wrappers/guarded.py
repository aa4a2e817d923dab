"""A wrapper that is a Python function, and what keeps its failures away from the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import _recorder, recorder

Special = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]

writing, delay = _recorder.writing, _recorder.delay


def guarded(special: Special, original: Callable[..., Any]) -> Callable[..., Any]:
    """The wrapper that hands its calls to `special`, and to the original alone while nothing is written."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return special(original, args, kwargs) if writing() else original(*args, **kwargs)

    return wrapper


def delayed(special: Special, code: int) -> Special:
    """`special` after the delay that its site may be asked for; a `Hook` does that itself."""

    def call(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        delay(code)
        return special(original, args, kwargs)

    return call


def safely(write: Callable[..., None], *args: Any) -> None:
    """Write something down; where that fails the recorder stops, and the engine does not notice."""
    try:
        write(*args)
    except Exception as error:
        recorder.fail(error)
