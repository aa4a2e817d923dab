"""Why the scheduler left requests in its queue, read from the scheduler right after a step.

Its loop ends, before it looks at the next request, where the token budget is spent or the sequence limit reached;
nobody is admitted in a step that preempts. Else the first request that it looked at and neither skipped nor admitted
ended it; those that hold KV blocks already wait apart, and are looked at first. That a request's KV blocks were refused
is seen at `allocate_slots`: the reader adds it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import chain, islice
from typing import Any

from ...events import step

MOST_LOOKED_AT = 8  # of the head of each queue: the cost of a step has a bound


def held_back(scheduler: Any, output: Any) -> tuple[int, int, int, int]:
    """The codes of `tracing.events.step.HELD_BACK` of those that the scheduler did not come to, and of the head of its
    queue; then its limits of tokens and of sequences in a step, 0 where a version does not have them."""
    try:
        limits = scheduler.max_num_scheduled_tokens, _sequence_limit(scheduler)
        holding, waiting = getattr(scheduler, "kv_holding_waiting", ()), scheduler.waiting
        if not (holding or waiting):
            return (step.NOBODY, step.NOBODY, *limits)
        left, queued = _tokens_left(scheduler, output), chain(_in_order(holding), _in_order(waiting))
        reason = _of_loop(scheduler, output, left, limits[1]) or _of_looked_at(scheduler, queued, left)
        head = (holding or waiting).peek_request()
        return (reason, step.BLOCKED.get(head.status.name, reason), *limits)
    except AttributeError:  # a version that calls it otherwise
        return (step.NOT_KNOWN, step.NOT_KNOWN, 0, 0)


def _sequence_limit(scheduler: Any) -> int:
    return int(getattr(scheduler, "max_num_active_reqs", scheduler.max_num_running_reqs))


def _tokens_left(scheduler: Any, output: Any) -> int:
    """What is left of a step's token budget: every request takes slots for its drafts as well, where there are such."""
    total, spec = output.total_num_scheduled_tokens, scheduler.vllm_config.speculative_config
    left: int = scheduler.max_num_scheduled_tokens - total
    if spec is None:
        return left
    slots = spec.max_num_new_slots_for_drafting * (len(output.num_scheduled_tokens) + 1)
    return min(left, scheduler.scheduler_config.max_num_batched_tokens - total - slots)


def _of_loop(scheduler: Any, output: Any, left: int, sequence_limit: int) -> int:
    """What ended the loop before it looked at another request; 0 where nothing did."""
    if output.preempted_req_ids:
        return step.KV_BLOCKS
    if scheduler.pause_state.name != "UNPAUSED":
        return step.PAUSED
    if left <= 0:
        return step.TOKEN_BUDGET
    running = len(scheduler.running) + getattr(scheduler, "num_waiting_for_streaming_input", 0)
    return step.SEQUENCE_LIMIT if running >= sequence_limit else 0


def _in_order(queue: Any) -> Iterable[Any]:
    """The head of a queue, in the order in which the scheduler takes it; of a heap the first alone."""
    if isinstance(queue, deque):
        return islice(queue, MOST_LOOKED_AT)
    return (queue.peek_request(),) if queue else ()


def _of_looked_at(scheduler: Any, queued: Iterable[Any], left: int) -> int:
    """What kept the first request that was not skipped; where all were, the first one's own reason."""
    skipped, adapters = 0, _adapters(scheduler)
    for request in queued:
        blocked = step.BLOCKED.get(request.status.name)
        if not blocked and adapters and request.lora_request and request.lora_request.lora_int_id not in adapters:
            blocked = step.LORA_LIMIT
        if not blocked:
            return _of_tokens(scheduler, request, left)
        skipped = skipped or blocked
    return skipped


def _adapters(scheduler: Any) -> set[int]:
    """The LoRA adapters that run, where there may be no more of them; else none."""
    running: set[int] = set()
    for request in scheduler.running if scheduler.lora_config else ():
        if request.lora_request:
            running.add(request.lora_request.lora_int_id)
            if len(running) >= scheduler.lora_config.max_loras:
                return running
    return set()


def _of_tokens(scheduler: Any, request: Any, left: int) -> int:
    if not scheduler.scheduler_config.enable_chunked_prefill and request.num_tokens > left:
        return step.NO_CHUNK
    return step.ENCODER_BUDGET if request.has_encoder_inputs else step.NOT_KNOWN
