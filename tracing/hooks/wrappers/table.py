"""Which wrapper a site gets.

Most sites are served by `Hook` of the C recorder, which needs to be told where a call's request is and how to read the
site's two numbers. Those that number steps, name messages or follow coroutines have a module here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...sites.engine import CODES
from ...sites.site import Site
from .. import _recorder
from ..patching import Wrap
from ..scheduling.evictions import evictions
from . import collectives, coroutines, graphs, messages, requests, steps
from .models import after_load

# Where a call's request is: position, keyword, and the attribute of that argument (None: the argument itself).
WHO: dict[str, tuple[int, str, str | None]] = {
    "llm.add_request": (1, "request_id", None),
    "async.generate": (3, "request_id", None),
    "async.add_request": (1, "request_id", None),
    "input.process": (1, "request_id", None),
    "client.send": (2, "request", "request_id"),
    "client.send_async": (2, "request", "request_id"),
    "wire.encode": (1, "obj", "request_id"),
    "core.preprocess": (1, "request", "request_id"),
    "core.add_request": (1, "request", "request_id"),
    "kv.lookup": (1, "request", "request_id"),
    "kv.allocate": (1, "request", "request_id"),
    "scheduler.free": (1, "request", "request_id"),
    "kv.remote_wait": (1, "request", "request_id"),
    "grammar.compile": (1, "request", "request_id"),
    "output.deliver": (0, "self", "request_id"),
}

# A span's `value` and `extra`, from the result and the arguments by position.
NUMBERS: dict[str, Callable[..., tuple[Any, Any]]] = {
    "client.send": lambda result, client, kind, *_: (0, kind.value[0]),
    "client.send_async": lambda result, client, kind, *_: (0, kind.value[0]),
    "wire.encode": lambda result, *_: (sum(map(len, result)), 0),
    "core.add_request": lambda result, core, request, *_: (request.num_prompt_tokens, request.max_tokens),
    "core.abort": lambda result, core, requests: (len(requests), 0),
    "kv.lookup": lambda result, *args: (result[1], evictions.lost(result[1], *args)),
    "kv.allocate": lambda result, blocks, request, tokens, *_: (tokens, result is None),
    "scheduler.free": lambda result, scheduler, request, *_: (request.num_output_tokens, request.status.name),
    "worker.execute": lambda result, worker, given, *_: (steps.scheduler_output(given).total_num_scheduled_tokens, 0),
    "runner.prepare": graphs.prepared,
    "graph.dispatch": graphs.dispatched,
    "core.send": lambda result, socket, buffers: (sum(map(len, buffers)), 0),
    "kv.remote_wait": lambda result, scheduler, request: requests.looked_at(result, request),
    "output.detokenize": lambda result, state, tokens, *_: (len(tokens), 0),
    "collective": lambda result, group, *_: (group.ranks[0], group.ranks[-1]),
    "output.abort": lambda result, *_: (len(result), 0),
}

WRITING = steps.WRITING | messages.WRITING | requests.WRITING  # their functions write the span themselves


def wrapper_of(site: Site, ranged: bool = False) -> Wrap:
    """The wrapper that makes a site's wrapper from its function; `ranged` where NVTX ranges are made too."""
    code = CODES[site.name]
    if site.name in WRITING:
        special = WRITING[site.name]
        if ranged:  # around the function alone: what its wrapper writes is not in the range
            return lambda original: _recorder.Hook(
                original, code, special=special, watched=_recorder.Hook(original, code, range_only=True)
            )
        return lambda original: _recorder.Hook(original, code, special=special)
    if site.kind == "coroutine":
        return lambda original: coroutines.coroutine(original, code, WHO.get(site.name))
    if site.kind == "async generator":
        return lambda original: coroutines.async_generator(original, code, WHO[site.name])
    if site.kind == "model":
        return after_load
    if site.name == "collective":
        return lambda original: collectives.in_steps(original, _hook(original, site.name))
    if site.name in steps.NUMBERING:
        numbering = steps.NUMBERING[site.name]
        return lambda original: _recorder.Hook(
            original, code, special=numbering, watched=_hook(original, site.name, inside=True), delays=False
        )
    return lambda original: _hook(original, site.name)


def _hook(original: Callable[..., Any], name: str, inside: bool = False) -> Callable[..., Any]:
    position, keyword, attribute = WHO.get(name, (-1, "", None))
    numbers = NUMBERS.get(name)
    return _recorder.Hook(original, CODES[name], position, keyword, attribute, numbers, inside=inside)
