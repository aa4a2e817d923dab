"""vLLM's own named scopes as spans, with whatever vLLM itself does in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...sites.engine import CODES, SCOPE_SITE
from .. import _recorder

CODE, around = CODES[SCOPE_SITE.name], _recorder.scope


def scoped(original: Callable[..., Any]) -> Callable[..., Any]:
    """The wrapper of the function that makes a scope; one whose name is not told as vLLM does it is no span."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        inner = original(*args, **kwargs)
        return around(CODE, args[0], inner) if args else inner

    return wrapper
