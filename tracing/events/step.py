"""The record of one engine step, and the layout of the step log that holds them.

`steps-<pid>.bin` is a ring: a header that counts the records written so far, then room for `CAPACITY` of them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAGIC = b"ESSTEP01"
HEADER = struct.Struct("<8sqq")  # magic, records written so far, process id
COUNT = struct.Struct("<q")  # the header's second field alone
RECORD = struct.Struct("<11q")
CAPACITY = 1 << 16  # records kept; an older one is overwritten, and the reader says so
STEP, GC_PAUSE = 0, 1  # a record's `kind`

# What begins and ends a step inside vLLM: module, class, method.
STEP_SITES = (
    ("vllm.v1.core.sched.scheduler", "Scheduler", "schedule"),
    ("vllm.v1.core.sched.scheduler", "Scheduler", "update_from_output"),
)


@dataclass(frozen=True)
class Step:
    """One EngineCore iteration (`kind` 0), or a pause of its garbage collector (`kind` 1, the generation in `waiting`).

    Times are nanoseconds of CLOCK_MONOTONIC. `prefill_*` and `decode_*` count what was scheduled in the step; a request
    is prefilling until its first output token, `first_decodes` are in the step after that. `waiting` and
    `kv_used_blocks` are read right after scheduling.
    """

    kind: int
    start_ns: int
    end_ns: int
    prefill_requests: int
    prefill_tokens: int
    decode_requests: int
    decode_tokens: int
    waiting: int
    preempted: int
    kv_used_blocks: int
    first_decodes: int


STEP_FIELDS = tuple(Step.__dataclass_fields__)

# Why the scheduler left requests in its queue, by code: of those that it did not come to in a step, or of its head. A
# trace that does not tell has `NOT_TOLD`, and what the hook could not find out is `NOT_KNOWN`.
NOBODY, NOT_KNOWN, NOT_TOLD = 0, 1, 2
TOKEN_BUDGET, SEQUENCE_LIMIT, KV_BLOCKS, NO_CHUNK, LORA_LIMIT, ENCODER_BUDGET = range(3, 9)
GRAMMAR, REMOTE_KV, STREAMING_INPUT, PAUSED = range(9, 13)
HELD_BACK = {
    NOBODY: "nobody waits",
    NOT_KNOWN: "not known",
    NOT_TOLD: "not told",
    TOKEN_BUDGET: "token budget",
    SEQUENCE_LIMIT: "sequence limit",
    KV_BLOCKS: "KV blocks",
    NO_CHUNK: "chunk threshold",
    LORA_LIMIT: "LoRA limit",
    ENCODER_BUDGET: "encoder budget",
    GRAMMAR: "grammar not ready",
    REMOTE_KV: "remote KV",
    STREAMING_INPUT: "streaming input",
    PAUSED: "paused",
}
# A waiting request's status that keeps it where it is, by name.
BLOCKED = {
    "WAITING_FOR_STRUCTURED_OUTPUT_GRAMMAR": GRAMMAR,
    "WAITING_FOR_REMOTE_KVS": REMOTE_KV,
    "WAITING_FOR_STREAMING_REQ": STREAMING_INPUT,
}
