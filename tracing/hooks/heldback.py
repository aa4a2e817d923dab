"""Why the scheduler left requests in its queue, read from the scheduler right after a step.

Its loop ends, before it looks at the next request, where the token budget is spent or the sequence limit reached;
nobody is admitted in a step that preempts. Else the first request that it looked at and neither skipped nor admitted
ended it. That its KV blocks were refused is seen at `allocate_slots`: the reader adds it.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Any

from ..events import step

MOST_LOOKED_AT = 8  # of the head of the queue: the cost of a step has a bound


def held_back(scheduler: Any, output: Any) -> tuple[int, int, int, int]:
    """The codes of `tracing.events.step.HELD_BACK` of those that the scheduler did not come to, and of the head of its
    queue; then its limits of tokens and of sequences in a step, 0 where a version does not have them."""
    try:
        limits = scheduler.max_num_scheduled_tokens, _sequence_limit(scheduler)
        queue = getattr(scheduler, "kv_holding_waiting", None) or scheduler.waiting
        if not queue:
            return (step.NOBODY, step.NOBODY, *limits)
        left = _tokens_left(scheduler, output)
        reason = _of_loop(scheduler, output, left, limits[1]) or _of_looked_at(scheduler, queue, left)
        return (reason, step.BLOCKED.get(queue.peek_request().status.name, reason), *limits)
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


def _of_looked_at(scheduler: Any, queue: Any, left: int) -> int:
    """What kept the first request that was not skipped; where all were, the first one's own reason."""
    skipped, adapters = 0, _adapters(scheduler)
    for request in islice(queue, MOST_LOOKED_AT) if isinstance(queue, deque) else (queue.peek_request(),):
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
