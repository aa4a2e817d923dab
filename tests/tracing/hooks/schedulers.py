"""Stand-ins for vLLM's scheduler and for what it hands out for a step."""

from __future__ import annotations

import types
from typing import Any


class Pool:
    """Ten blocks, vLLM's null block among them."""

    num_gpu_blocks = 10

    def __init__(self, free: int = 6) -> None:
        self.free = free

    def get_num_free_blocks(self) -> int:
        return self.free


class Request:
    def __init__(self, req_id: str) -> None:
        self.req_id = req_id


class Cached:
    """The running requests of a step: names, output tokens so far, and which of them come back from preemption."""

    def __init__(self, generated: dict[str, int], resumed: set[str]) -> None:
        self.req_ids, self.num_output_tokens = list(generated), list(generated.values())
        self.resumed_req_ids = resumed


class Output:
    """What a scheduler hands out for a step: tokens of each request, and which requests are new."""

    def __init__(
        self,
        tokens: dict[str, int],
        generated: dict[str, int] | None = None,
        resumed: tuple[str, ...] = (),
        preempted: set[str] | None = None,
    ) -> None:
        generated = generated or {}
        self.num_scheduled_tokens, self.total_num_scheduled_tokens = tokens, sum(tokens.values())
        self.scheduled_new_reqs = [Request(name) for name in tokens if name not in generated]
        self.scheduled_cached_reqs = Cached(generated, set(resumed))
        self.preempted_req_ids, self.finished_req_ids = preempted, set[str]()


class Scheduler:
    """Hands out what it was given."""

    def __init__(self, *outputs: Any, waiting: int = 0, free: int = 6) -> None:
        self.outputs, self.waiting = list(outputs), ["w"] * waiting
        self.kv_cache_manager = types.SimpleNamespace(block_pool=Pool(free))

    def schedule(self) -> Any:
        return self.outputs.pop(0)

    def update_from_output(self, output: Any, result: Any = "result") -> Any:
        return output, result
