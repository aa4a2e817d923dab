"""The steps: numbered where the core schedules them, and known by their number wherever they are worked on.

A thread's spans belong to the step that was set last on it (`_recorder.set_step`), so each wrapper here sets the step
of its call, read from the object that the call is about.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ...events.layout import BATCH, COUNTS, MESSAGE
from ...sites.engine import CODES
from .. import _recorder, stepnumber
from ..device.launches import launches
from ..scheduling.counts import scheduled
from ..scheduling.evictions import evictions
from ..scheduling.heldback import held_back
from .guarded import Special, safely
from .messages import key

now, set_step, span, numbers = _recorder.now, _recorder.set_step, _recorder.span, _recorder.numbers
Call = Callable[..., Any]


class Steps:
    """The step numbers of this process: the next one, and those last given to the executor and taken by the worker."""

    def __init__(self) -> None:
        self.next = 0
        self.dispatched = stepnumber.NONE
        self.executed = stepnumber.NONE
        self.awaiting: set[str] = set()  # requests whose first decode is still to come


class HandedOver:
    """Outputs on their way to vLLM's output thread, each with its step. `None` among them can carry no number."""

    def __init__(self) -> None:
        self.outputs: deque[tuple[Any, int]] = deque()

    def put(self, output: Any, step: int) -> None:
        self.outputs.append((output, step))

    def step_of(self, output: Any) -> int:
        """The step of an output that arrives, with those before it forgotten."""
        while self.outputs:
            earlier, step = self.outputs.popleft()
            if earlier is output:
                return step
        return stepnumber.NONE


steps = Steps()
handed_over = HandedOver()


# --- the core ---


def _schedule(original: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    number = steps.next
    steps.next += 1
    set_step(number)
    start = now()
    output = original(*args, **kwargs)
    safely(_write_step, args[0], output, number, start, now())
    return output


def _write_step(scheduler: Any, output: Any, number: int, start: int, end: int) -> None:
    stepnumber.put(output, number)
    tokens = output.num_scheduled_tokens
    span(CODES["scheduler.schedule"], start, None, output.total_num_scheduled_tokens, len(tokens), None, end)
    _recorder.batch(BATCH, tokens)
    counts = scheduled(scheduler, output, steps.awaiting)
    pool = scheduler.kv_cache_manager.block_pool
    numbers(COUNTS, (*counts, pool.num_gpu_blocks, *held_back(scheduler, output), *evictions.kept(pool)))


def _evict(original: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Blocks are evicted one by one: they are counted with their step, and have no spans."""
    safely(evictions.remember, _argument(args, kwargs, "block_hashes"))
    return original(*args, **kwargs)


def _dispatch(hook: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    steps.dispatched = _number(args, kwargs)
    return _given_to_worker(hook, args, kwargs)


def _given_to_worker(hook: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Sampling may be asked for when another step is being worked on: it is of the step that was dispatched last."""
    set_step(steps.dispatched)
    result = hook(*args, **kwargs)
    if isinstance(result, Future):
        safely(stepnumber.put, result, steps.dispatched)
    return result


def _of_scheduler_output(hook: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    set_step(_number(args, kwargs))
    return hook(*args, **kwargs)


def _wait(hook: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Wait for a future, of its own step; one without a number is of the call that waits for it."""
    number = stepnumber.of(args[0])
    if number != stepnumber.NONE:
        set_step(number)
    return hook(*args, **kwargs)


def _update(original: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    set_step(_number(args, kwargs))
    start = now()
    result = original(*args, **kwargs)
    safely(_write_messages, result, start, now())
    return result


def _write_messages(result: dict[int, Any], start: int, end: int) -> None:
    outputs = finished = 0
    for client, message in result.items():
        outputs += len(message.outputs)
        finished += len(message.finished_requests or ())
        numbers(MESSAGE, (client, len(message.outputs)), key(message.timestamp))
    span(CODES["scheduler.update"], start, None, outputs, finished, None, end)


# --- the worker ---


def _execute(hook: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a step gives to the device begins somewhere inside; where no output comes back, its sampling is to come."""
    steps.executed = _number(args, kwargs)
    set_step(steps.executed)
    result = hook(*args, **kwargs)
    if result is None:
        launches.pause()
    else:
        launches.end()
    return result


def _sample(hook: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    set_step(steps.executed)
    result = hook(*args, **kwargs)
    launches.end()
    return result


def _launch(hook: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    launches.begin()
    return hook(*args, **kwargs)


def _encode(hook: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An encoder's work is a piece of its own: there is more to prepare until the forward pass is launched.

    Model Runner V1 calls it in each step of a model that has one, with the scheduler's output.
    """
    given = args[1] if len(args) > 1 else None
    if not getattr(given, "scheduled_encoder_inputs", given):
        return hook(*args, **kwargs)
    launches.begin(True)
    result = hook(*args, **kwargs)
    launches.end()
    return result


def _wait_for_device(hook: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = _wait(hook, args, kwargs)
    launches.read()
    return result


def _hand_over(hook: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    handed_over.put(_argument(args, kwargs, "output"), _recorder.step())
    return hook(*args, **kwargs)


def _reply(hook: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    set_step(handed_over.step_of(_argument(args, kwargs, "output")))
    return hook(*args, **kwargs)


def _no_step(hook: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A batch without requests, so that this engine keeps step with others."""
    set_step(stepnumber.NONE)
    return hook(*args, **kwargs)


def _dummy(hook: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The same on the worker: its device works on it, for no step."""
    set_step(stepnumber.NONE)
    launches.begin_dummy()
    try:
        return hook(*args, **kwargs)
    finally:
        launches.end()


def _agree(hook: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A dummy batch is launched after the engines have agreed on it; a step says itself when it is."""
    result = hook(*args, **kwargs)
    if _recorder.step() == stepnumber.NONE:
        launches.begin()
    return result


def scheduler_output(given: Any) -> Any:
    """The scheduler's output that a worker is given: alone, or by Ray as the first of several."""
    return given[0] if isinstance(given, tuple) else given


def _number(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    return stepnumber.of(scheduler_output(_argument(args, kwargs, "scheduler_output")))


def _argument(args: tuple[Any, ...], kwargs: dict[str, Any], name: str) -> Any:
    """The one argument of a method, by position or name."""
    return args[1] if len(args) > 1 else kwargs.get(name)


WRITING: dict[str, Special] = {"scheduler.schedule": _schedule, "scheduler.update": _update, "kv.evict": _evict}
# These set the step of a call; the span is the hook's.
NUMBERING: dict[str, Special] = {
    "executor.dispatch": _dispatch,
    "scheduler.grammar": _of_scheduler_output,
    "executor.sample": _given_to_worker,
    "executor.wait": _wait,
    "executor.dummy": _no_step,
    "worker.execute": _execute,
    "worker.dummy": _dummy,
    "ranks.agree": _agree,
    "device.wait": _wait_for_device,
    "worker.sample": _sample,
    "runner.forward": _launch,
    "graph.run": _launch,
    "encoder.run": _encode,
    "runner.sample": _launch,
    "worker.hand_over": _hand_over,
    "worker.reply": _reply,
}
