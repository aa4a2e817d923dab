"""The loaded model: Model Runner V2 calls it inline, so its own methods are hooked."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ...sites.engine import CODES
from .. import _recorder
from .guarded import safely


def after_load(original: Callable[..., Any]) -> Callable[..., Any]:
    """The wrapper of a worker's `load_model`, which hooks what was loaded, if nothing compiles it."""

    def load_model(worker: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(worker, *args, **kwargs)
        safely(_hook_model, worker)
        return result

    return load_model


def _hook_model(worker: Any) -> None:
    model = worker.get_model()
    if getattr(model, "do_not_compile", True):  # a compiler could not look through a hook
        model.forward = _like(model.forward, "model.forward")
    if hasattr(model, "compute_logits"):
        model.compute_logits = _like(model.compute_logits, "model.logits")


def _like(method: Callable[..., Any], site: str) -> Callable[..., Any]:
    """A hook with the signature of `method`, at which vLLM looks."""
    return functools.update_wrapper(_recorder.Hook(method, CODES[site]), method)
