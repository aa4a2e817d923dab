"""Records as a run writes them of one arm, by hand."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from offline.records.lines import Record, StopRecord, TrialRecord, record_of
from offline.records.resolved import Resolved
from offline.spec.grid import Arm, Cell
from offline.table.cells import Row, rows
from tracing.events.step import GC_PAUSE, STEP, STEP_FIELDS

MS = 1_000_000
COLD, WARM = (Cell(2, state, input_len=8, output_len=3, shared_prefix_len=4) for state in ("cold", "warm"))
AXES = ("block_size", "enable_prefix_caching")
SETTINGS = {"model": "m", "dtype": "float32", "block_size": 32, "enable_prefix_caching": True}
ARM = Arm(SETTINGS, AXES, (COLD, WARM))

RESOLVED: dict[str, Any] = dict.fromkeys(each.name for each in fields(Resolved)) | {
    **{"dtype": "float32", "block_size": 32, "effective_block_size": None},
    **{"enable_prefix_caching": True, "kv_blocks": 10, "kv_tokens": 320, "compilation_mode": "NONE"},
    **{"device": "cpu", "kv_cache_memory_bytes": 512},
}
# The front end (pid 1) imports for 2 s and starts the core (pid 2) and the worker (pid 3); all stamps in seconds.
PHASES: list[dict[str, Any]] = [
    {"phase": "load_weights", "pid": 3, "start_ns": 19, "end_ns": 20, "weights_bytes": 1000},
    {"phase": "executor", "pid": 2, "start_ns": 10, "end_ns": 21},
    {"phase": "profile", "pid": 2, "start_ns": 21, "end_ns": 22},
    {"phase": "worker_kv", "pid": 3, "start_ns": 22, "end_ns": 24, "kv_cache_bytes": 512, "attention_backend": ["CPU"]},
    {"phase": "kv_allocation", "pid": 2, "start_ns": 22, "end_ns": 25},
    {"phase": "warm_up", "pid": 2, "start_ns": 25, "end_ns": 26},
]


def started(**changes: Any) -> Record:
    """The record of an engine that came up in 30 s."""
    second = 1_000_000_000
    phases = [p | {name: p[name] * second for name in ("start_ns", "end_ns")} for p in PHASES]
    plain = {"kind": "start", "arm": ARM.id, "engine": 1, "name": ARM.name, "resolved": RESOLVED, "phases": phases}
    plain |= {"vocabulary": 5000, "step_log": True, "unhooked": []}
    plain |= {"import_start_ns": 0, "engine_start_ns": 2 * second, "ready_ns": 30 * second}
    plain |= {"plugin_ns": {"1": 3 * second, "2": 9 * second, "3": 18 * second}}
    memory = [{"title": "VLLM::Worker", "pid": pid, "rss_bytes": size} for pid, size in ((3, 300), (4, 200))]
    return record_of(plain | {"memory": memory, "started_together": 2} | changes)


def step(start_ms: int, end_ms: int, **counts: int) -> list[int]:
    """A record of the step log; what is not said is 0."""
    known = {"kind": STEP, "start_ns": start_ms * MS, "end_ns": end_ms * MS} | counts
    return [known.get(name, 0) for name in STEP_FIELDS]


# Two requests of 8 + 3 tokens. The second is prefilled beside the first one's first decode.
STEPS = [
    step(0, 100, prefill_requests=1, prefill_tokens=8, waiting=1, kv_used_blocks=2),
    step(100, 200, prefill_requests=1, prefill_tokens=8, decode_requests=1, decode_tokens=1, first_decodes=1),
    step(200, 230, decode_requests=2, decode_tokens=2, first_decodes=1, kv_used_blocks=4),
    step(210, 215, kind=GC_PAUSE, waiting=2),
    step(230, 270, decode_requests=1, decode_tokens=1),
    step(270, 271),
]
REQUEST = {"prompt_tokens": 8, "cached_tokens": 2, "generated_tokens": 3, "finish_reason": "length"}
REQUEST |= {"queued_s": 7.0, "scheduled_s": 7.0, "first_token_s": 7.1}
REQUESTS = [
    {**REQUEST, "ttft_s": 0.10, "last_token_s": 7.23},
    {**REQUEST, "ttft_s": 0.20, "last_token_s": 7.17},
]


def trial(cell: Cell, index: int, **changes: Any) -> TrialRecord:
    """A trial of 300 ms that found 4 cached tokens, as arithmetic said."""
    plain: dict[str, Any] = {"kind": "trial", "cell": ARM.cell_id(cell), "trial": index, "arm": ARM.id, "engine": 1}
    plain |= {"group": 0, "round": index}
    plain |= {"start_ns": 0, "end_ns": 300 * MS, "requests": REQUESTS, "asked_tokens": 6, "prefix_hits": 4}
    plain |= {"expected_cached_tokens": 4, "preemptions": 0, "reference_ns": [29 * MS, 31 * MS]}
    plain |= {"seed": 1, "prefix_queries": 16, "steps_lost": 0, "step_fields": STEP_FIELDS, "steps": STEPS}
    record = record_of(plain | changes)
    assert isinstance(record, TrialRecord)
    return record


def stop(status: str, reason: str) -> Record:
    """The record of an arm that was given up."""
    return StopRecord(ARM.id, 1, status, reason)


def both(*records: Record, repeats: int = 2) -> list[Row]:
    """The rows of the cold and the warm cell."""
    return rows([ARM], repeats, list(records))
