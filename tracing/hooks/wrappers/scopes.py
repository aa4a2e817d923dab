"""vLLM's own named scopes as spans, with whatever vLLM itself does in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...sites.engine import CODES, SCOPE_SITE
from .. import _recorder

CODE = CODES[SCOPE_SITE.name]


def scoped(original: Callable[..., Any]) -> Callable[..., Any]:
    """What stands in for the function that makes a scope; one whose name is not told as vLLM does it is no span."""
    return _recorder.Hook(original, CODE, special=_scope, inside=True, delays=False)


def _scope(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    inner = original(*args, **kwargs)
    return _recorder.scope(CODE, args[0], inner) if args else inner
