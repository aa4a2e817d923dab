"""The wrapper of each hooked function: it calls the original and writes a span of it.

Most sites are served by `Hook` of the C recorder, which needs to be told where a call's request is and how to read the
site's two numbers. Those that number steps or name messages have a function here; coroutines and generators are in
`tracing.hooks.coroutines`.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable
from typing import Any

from ..events.layout import BATCH, CHILD, COUNTS, MESSAGE, RENAMED, STOPPED
from ..sites.engine import CODES, SCOPE_SITE
from ..sites.site import Site
from . import _recorder, coroutines, recorder
from .counts import scheduled
from .patching import Wrap

now, set_step, writing = _recorder.now, _recorder.set_step, _recorder.writing
span, numbers = _recorder.span, _recorder.numbers

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
    "scheduler.preempt": (1, "request", "request_id"),
    "scheduler.free": (1, "request", "request_id"),
    "output.deliver": (0, "self", "request_id"),
}

# A span's `value` and `extra`, from the result and the arguments by position.
NUMBERS: dict[str, Callable[..., tuple[Any, Any]]] = {
    "client.send": lambda result, client, kind, *_: (0, kind.value[0]),
    "client.send_async": lambda result, client, kind, *_: (0, kind.value[0]),
    "wire.encode": lambda result, *_: (sum(map(len, result)), 0),
    "core.add_request": lambda result, core, request, *_: (request.num_prompt_tokens, request.max_tokens),
    "core.abort": lambda result, core, requests: (len(requests), 0),
    "kv.lookup": lambda result, *_: (result[1], 0),
    "kv.allocate": lambda result, blocks, request, tokens, *_: (tokens, result is None),
    "scheduler.free": lambda result, scheduler, request, *_: (request.num_output_tokens, request.status.name),
    "core.send": lambda result, socket, buffers: (sum(map(len, buffers)), 0),
    "output.detokenize": lambda result, state, tokens, *_: (len(tokens), 0),
    "output.abort": lambda result, *_: (len(result), 0),
}


def wrapper_of(site: Site, ranged: bool = False) -> Wrap:
    """The wrapper that makes a site's wrapper from its function; `ranged` where NVTX ranges are made too."""
    code = CODES[site.name]
    position, keyword, attribute = WHO.get(site.name, (-1, "", None))
    if site.name in SPECIAL:
        special = SPECIAL[site.name]
        if ranged:  # around the function alone: what its wrapper writes is not in the range
            return lambda original: guarded(special, _recorder.Hook(original, code, range_only=True))
        return lambda original: guarded(special, original)
    if site.kind == "coroutine":
        return lambda original: coroutines.coroutine(original, code, WHO.get(site.name))
    if site.kind == "async generator":
        return lambda original: coroutines.async_generator(original, code, WHO[site.name])
    if site.kind == "model":
        return _after_load
    return lambda original: _recorder.Hook(original, code, position, keyword, attribute, NUMBERS.get(site.name))


# --- the core: steps are numbered, and what they scheduled is listed ---


class _Steps:
    """This process's step numbers: counted by `schedule` in the core, by `execute_model` in a worker of its own."""

    def __init__(self) -> None:
        self.scheduled = 0
        self.executed = 0
        self.in_flight: deque[int] = deque()  # oldest first: outputs come back in the order of scheduling
        self.awaiting: set[str] = set()


_steps = _Steps()

Special = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


def guarded(special: Special, original: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return special(original, args, kwargs) if writing() else original(*args, **kwargs)

    return wrapper


def _safely(write: Callable[..., None], *args: Any) -> None:
    """Write something down; where that fails the recorder stops, and the engine does not notice."""
    try:
        write(*args)
    except Exception as error:
        recorder.fail(error)


def _schedule(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    number = _steps.scheduled
    _steps.scheduled += 1
    set_step(number)
    start = now()
    output = original(*args, **kwargs)
    end = now()
    _steps.in_flight.append(number)
    _safely(_write_step, args[0], output, start, end)
    return output


def _write_step(scheduler: Any, output: Any, start: int, end: int) -> None:
    tokens = output.num_scheduled_tokens
    span(CODES["scheduler.schedule"], start, None, output.total_num_scheduled_tokens, len(tokens), None, end)
    _recorder.batch(BATCH, tokens)
    counts = scheduled(scheduler, output, _steps.awaiting)
    numbers(COUNTS, (*counts, scheduler.kv_cache_manager.block_pool.num_gpu_blocks))


def _wait(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if _steps.in_flight:
        set_step(_steps.in_flight[0])  # with a batch queue the answer waited for is the oldest step's
    start = now()
    result = original(*args, **kwargs)
    span(CODES["executor.wait"], start)
    return result


def _update(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if _steps.in_flight:
        set_step(_steps.in_flight.popleft())
    start = now()
    result = original(*args, **kwargs)
    _safely(_write_messages, result, start, now())
    return result


def _write_messages(result: dict[int, Any], start: int, end: int) -> None:
    outputs = finished = 0
    for client, message in result.items():
        outputs += len(message.outputs)
        finished += len(message.finished_requests or ())
        numbers(MESSAGE, (client, len(message.outputs)), _key(message.timestamp))
    span(CODES["scheduler.update"], start, None, outputs, finished, None, end)


def _key(timestamp: float) -> int:
    return int(timestamp * 1e9)


def _dequeue(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    start = now()
    result = original(*args, **kwargs)
    _safely(_write_dequeued, args, start, now())
    return result


def _write_dequeued(args: tuple[Any, ...], start: int, end: int) -> None:
    kind, request = args[1].value, args[2]
    name = request[0].request_id if kind == b"\x00" else None  # ADD carries the request and its wave
    span(CODES["core.dequeue"], start, name, 0, kind[0], None, end)


def _execute(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not _steps.scheduled:  # a process of its own; where the core is here too, it has set the step
        set_step(_steps.executed)
        _steps.executed += 1
    start = now()
    result = original(*args, **kwargs)
    span(CODES["worker.execute"], start, None, args[1].total_num_scheduled_tokens)
    return result


def _after_load(original: Callable[..., Any]) -> Callable[..., Any]:
    """Model Runner V2 calls the model inline: the loaded model's own methods are hooked, if nothing compiles them."""

    def load_model(worker: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(worker, *args, **kwargs)
        _safely(_hook_model, worker)
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


# --- messages: in the front end and on the wire the step is the message's key ---


def _encode_into(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    _safely(lambda: set_step(_key(args[1].timestamp)))
    start = now()
    result = original(*args, **kwargs)
    _safely(lambda: span(CODES["core.encode"], start, None, sum(map(len, result))))
    return result


def _decode(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    start = now()
    result = original(*args, **kwargs)
    _safely(_write_decoded, result, args[1], start, now())
    return result


def _write_decoded(result: Any, frames: Any, start: int, end: int) -> None:
    size = len(frames) if isinstance(frames, bytes) else sum(map(len, frames))
    stamp = getattr(result, "timestamp", None)
    if stamp is not None:
        span(CODES["client.receive"], start, None, size, 0, _key(stamp), end)
    else:
        span(CODES["core.receive"], start, getattr(result, "request_id", None), size, 0, -1, end)


def _process_outputs(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    stamp = args[2] if len(args) > 2 else kwargs.get("engine_core_timestamp")
    if stamp:
        set_step(_key(stamp))
    start = now()
    try:
        result = original(*args, **kwargs)
        _safely(_write_stopped, result)
        return result
    finally:
        _safely(lambda: span(CODES["output.process"], start, None, len(args[1])))
        set_step(-1)


def _write_stopped(result: Any) -> None:
    """Those that the front end ended itself, at a stop string: the core has not finished them and is told to."""
    for request in result.reqs_to_abort:
        numbers(STOPPED, (request,))


# --- request ids ---


def _assign_id(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    start, given = now(), args[0].request_id
    result = original(*args, **kwargs)
    _safely(numbers, RENAMED, (args[0].request_id, given))
    span(CODES["input.assign_id"], start, args[0].request_id)
    return result


def _register(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    start = now()
    result = original(*args, **kwargs)
    request, parent = args[1], args[3] if len(args) > 3 else kwargs.get("parent_req")
    if parent is not None:
        _safely(numbers, CHILD, (request.request_id, parent.request_id))
    span(CODES["output.register"], start, request.request_id)
    return result


SPECIAL: dict[str, Special] = {
    "scheduler.schedule": _schedule,
    "executor.wait": _wait,
    "scheduler.update": _update,
    "core.dequeue": _dequeue,
    "worker.execute": _execute,
    "core.encode": _encode_into,
    "core.receive": _decode,
    "output.process": _process_outputs,
    "input.assign_id": _assign_id,
    "output.register": _register,
}


# --- vLLM's own scopes ---


class Scope:
    """A scope of vLLM's as a span, with whatever vLLM itself does in it."""

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
    return lambda name: Scope(name, original(name)) if writing() else original(name)
