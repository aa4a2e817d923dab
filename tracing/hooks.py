"""Puts this room's hooks on vLLM's classes in the process that asks, and writes down which of them took."""

from __future__ import annotations

import functools
import importlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tracing import startup, steplog


def install(folder: str) -> None:
    """Hook this process; what was hooked, and what could not be, is written beside the log for `proof` to read."""
    hooked: list[str] = []
    missing: list[str] = []
    for step_site in steplog.STEP_SITES:
        done = _hook(step_site, steplog.step_wrapper(step_site[2], folder))
        (hooked if done else missing).append(".".join(step_site))
    for phase, *site in startup.START_SITES:
        done = _hook(tuple(site), startup.start_wrapper(phase, folder))
        (hooked if done else missing).append(".".join(site))
    proof = {"pid": os.getpid(), "hooked": hooked, "missing": missing, "plugin_ns": time.monotonic_ns()}
    Path(folder, f"hooks-{os.getpid()}.json").write_text(json.dumps(proof))


def _hook(site: tuple[str, ...], wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> bool:
    module, owner, name = site
    try:
        cls = getattr(importlib.import_module(module), owner)
        original = cls.__dict__[name]
    except (ImportError, AttributeError, KeyError):
        return False
    if not hasattr(original, "__enginescope__"):
        replacement = functools.wraps(original)(wrap(original))
        replacement.__enginescope__ = True  # type: ignore[attr-defined]
        setattr(cls, name, replacement)
    return True
