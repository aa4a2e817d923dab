"""vLLM's own selection of an attention backend, asked backend by backend, in a process of its own (`main`).

It reads a `Question` as JSON from standard input and writes a `Selection` as JSON to standard output. The one module
here that imports vLLM and torch: loading them takes seconds, and a broken build may end the process.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Question:
    """A layer that is to attend: the size of its heads, dtypes as torch and vLLM name them, and what it needs."""

    head_size: int
    dtype: str
    kv_cache_dtype: str | None
    heads: int | None
    use_mla: bool
    has_sliding_window: bool


@dataclass(frozen=True)
class Selection:
    """The platform, the backend that it picks by itself, and why it would not take each of them ('': it would).

    `picked` is '' where no backend takes the layer. `doubt` is why, in vLLM's words; or that the one picked does not
    have the cache's dtype among its own. `candidates` are those that the platform goes through by itself, first those
    that would do, in order; [] where it does not tell them.
    """

    platform: str
    picked: str
    refusals: dict[str, str]
    candidates: list[str] = field(default_factory=list)
    doubt: str = ""


def answer(question: Question) -> Selection:
    """Each backend of this vLLM's list, asked for by name; KeyError and the like where this version has other names."""
    import torch
    from vllm.platforms import current_platform
    from vllm.v1.attention.backends.registry import AttentionBackendEnum
    from vllm.v1.attention.selector import AttentionSelectorConfig

    layer = AttentionSelectorConfig(
        head_size=question.head_size,
        dtype=getattr(torch, question.dtype),
        kv_cache_dtype=question.kv_cache_dtype,
        block_size=None,
        use_mla=question.use_mla,
        has_sliding_window=question.has_sliding_window,
    )

    def ask(backend: Any) -> str:
        return str(current_platform.get_attn_backend_cls(backend, layer, question.heads))

    named = [each for each in AttentionBackendEnum if each.value]  # those without a class are only tags
    paths = {each.get_path(): each.name for each in named}
    picked, doubt = _picked(ask, named, question.kv_cache_dtype)
    refusals = {each.name: _refusal(ask, each, paths) for each in named}
    candidates = _candidates(current_platform, layer, question.heads, named)
    return Selection(current_platform.device_name, picked, refusals, candidates, doubt)


def _picked(ask: Any, named: list[Any], cache_dtype: str | None) -> tuple[str, str]:
    """The backend that is taken where none is asked for, and the doubt; CPU's selection does not look at the cache."""
    try:
        path = ask(None)
    except ValueError as error:
        return "", str(error)
    backend = next((each for each in named if each.get_path() == path), None)
    if backend is None or backend.get_class().supports_kv_cache_dtype(cache_dtype):
        return backend.name if backend else path, ""
    takes = ", ".join(backend.get_class().supported_kv_cache_dtypes)
    return backend.name, f"{backend.name} has no {cache_dtype} among the dtypes of its KV cache: {takes}"


def _candidates(platform: Any, layer: Any, heads: int | None, named: list[Any]) -> list[str]:
    """What the platform goes through where nothing is asked for by name; not each takes whatever is asked for."""
    backends = getattr(platform, "get_valid_backends", None)
    if backends is None:  # as on CPU, where there is one; a platform has None for any name that it does not know
        return []
    valid, invalid = backends(platform.get_device_capability(), layer, heads)  # the former as tuples with one in them
    return [each.name for each in (*(part for pair in valid for part in pair if part in named), *invalid)]


def _refusal(ask: Any, backend: Any, paths: dict[str, str]) -> str:
    """Why a backend is not taken when it is asked for; a platform says so in an error, or silently takes another."""
    try:
        path = ask(backend)
    except Exception as error:  # a backend's module may fail in any way where its libraries are not there
        words = f"{error}".strip().splitlines() or [type(error).__name__]
        return words[0].rpartition("Reason: ")[2]
    return "" if path == backend.get_path() else f"takes {paths.get(path, path)} in its place"


def main() -> None:
    """Answer what stands on standard input."""
    question = Question(**json.load(sys.stdin))
    output, sys.stdout = sys.stdout, sys.stderr  # what vLLM prints is no answer
    json.dump(asdict(answer(question)), output)
