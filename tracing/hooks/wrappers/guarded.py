"""What is called in the place of an engine's function, and what keeps its failures away from the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import recorder

Special = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


def safely(write: Callable[..., None], *args: Any) -> None:
    """Write something down; where that fails the recorder stops, and the engine does not notice."""
    try:
        write(*args)
    except Exception as error:
        recorder.fail(error)
