"""What a step scheduled, counted from the scheduler and its output: for the step log and the recorder alike."""

from __future__ import annotations

from typing import Any


def scheduled(scheduler: Any, output: Any, awaiting: set[str]) -> tuple[int, ...]:
    """The counts of a `Step` from `prefill_requests` on, read from a scheduler and what it has just scheduled.

    `awaiting` holds the requests whose first decode is still to come, and is kept from step to step: while it is empty
    and nobody is admitted a step is all decodes, the common case, which is told without a look at each request.
    """
    running, total = len(output.num_scheduled_tokens), output.total_num_scheduled_tokens
    pool = scheduler.kv_cache_manager.block_pool
    used = pool.num_gpu_blocks - 1 - pool.get_num_free_blocks()
    preempted = len(output.preempted_req_ids) if output.preempted_req_ids else 0
    prefills = prefill_tokens = first_decodes = 0
    if awaiting or output.scheduled_new_reqs or output.scheduled_cached_reqs.resumed_req_ids:
        prefills, prefill_tokens, first_decodes = _prefills(output, awaiting)
    decodes, decode_tokens = running - prefills, total - prefill_tokens
    waiting = len(scheduler.waiting)
    return (prefills, prefill_tokens, decodes, decode_tokens, waiting, preempted, used, first_decodes)


def _prefills(output: Any, awaiting: set[str]) -> tuple[int, int, int]:
    """Prefilling requests, their tokens, and first decodes of a step; a resumed request is computed anew."""
    tokens, cached = output.num_scheduled_tokens, output.scheduled_cached_reqs
    prefilling = [request.req_id for request in output.scheduled_new_reqs]
    first_decodes = 0
    for name, generated in zip(cached.req_ids, cached.num_output_tokens, strict=True):
        if generated == 0 or name in cached.resumed_req_ids:
            prefilling.append(name)
        elif name in awaiting:
            awaiting.discard(name)
            first_decodes += 1
    awaiting.update(prefilling)
    awaiting.difference_update(output.finished_req_ids)
    return len(prefilling), sum(tokens[name] for name in prefilling), first_decodes
