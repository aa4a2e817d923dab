"""vLLM's own named scopes as spans, with whatever vLLM itself does in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...sites.engine import CODES, SCOPE_SITE
from .. import _recorder

now, span, writing = _recorder.now, _recorder.span, _recorder.writing


class Scope:
    """One scope, around vLLM's own."""

    __slots__ = ("inner", "name", "start")

    def __init__(self, name: str, inner: Any) -> None:
        self.name, self.inner = name, inner

    def __enter__(self) -> Any:
        self.start = now()
        return self.inner.__enter__()

    def __exit__(self, *error: Any) -> Any:
        done = self.inner.__exit__(*error)
        span(CODES[SCOPE_SITE.name], self.start, None, self.name)
        return done


def scoped(original: Callable[..., Any]) -> Callable[..., Any]:
    """The wrapper of the function that makes a scope; one whose name is not told as vLLM does it is no span."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        inner = original(*args, **kwargs)
        return Scope(args[0], inner) if args and writing() else inner

    return wrapper
