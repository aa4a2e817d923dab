"""The loaded model: Model Runner V2 calls it inline, so its own methods are hooked.

A site of the model counts as hooked only when a model was loaded and what runs of it is hooked.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ...sites.engine import CODES
from .. import _recorder, recorder
from ..device.launches import begun
from .guarded import safely


def after_load(original: Callable[..., Any]) -> Callable[..., Any]:
    """The wrapper of a worker's `load_model`, which hooks what was loaded."""

    def load_model(worker: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(worker, *args, **kwargs)
        safely(_hook_model, worker)
        return result

    return load_model


def _hook_model(worker: Any) -> None:
    model = worker.get_model()
    if getattr(model, "_compiled_call_impl", None) and not hasattr(model, "do_not_compile"):
        # torch.compile is around the module's call, as vLLM's mode 1 has it: the hook is around that
        model._compiled_call_impl = _like(begun(model._compiled_call_impl), "model.forward")
    elif getattr(model, "do_not_compile", True):
        model.forward = _like(begun(model.forward), "model.forward")
    else:  # a compiler could not look through a hook inside; the call around what it compiles is the class's
        _hook_call(type(model))
    if hasattr(model, "compute_logits"):
        model.compute_logits = _like(model.compute_logits, "model.logits")


def _hook_call(model_class: type) -> None:
    if not isinstance(model_class.__call__, _recorder.Hook):
        hook = _recorder.Hook(begun(model_class.__call__), CODES["model.forward"])
        model_class.__call__ = functools.update_wrapper(hook, model_class.__call__)  # type: ignore[method-assign]
    recorder.add(hooked=["model.forward"])


def _like(method: Callable[..., Any], site: str) -> Callable[..., Any]:
    """A hook with the signature of `method`, at which vLLM looks."""
    recorder.add(hooked=[site])
    return functools.update_wrapper(_recorder.Hook(method, CODES[site]), method)
