"""A KV connector whose store has the KV of no prompt, but that of every long one while a fault asks for it.

Then the load lasts as long as the fault: in the step itself (`KV load`), or while the request waits (`KV arrival`).
What is loaded is whatever the cache holds: the model's weights are random too.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorBase_V1, KVConnectorMetadata

from tests.engine.hanging.fault import KV_ARRIVAL, KV_LOAD, current, reached


@dataclass
class Loads(KVConnectorMetadata):
    """What the scheduler asks of the workers in a step: requests by id, loaded in the step or until they arrive."""

    in_step: set[str] = field(default_factory=set)
    arriving: set[str] = field(default_factory=set)


class RemoteStore(KVConnectorBase_V1):
    """Both halves, as vLLM wants it: the scheduler's and the worker's."""

    def __init__(self, vllm_config: Any, role: Any, kv_cache_config: Any) -> None:
        super().__init__(vllm_config, role, kv_cache_config)
        self.block_tokens = vllm_config.cache_config.block_size
        self.loads = Loads()
        self.arriving: set[str] = set()

    # --- in the core ---

    def get_num_new_matched_tokens(self, request: Any, num_computed_tokens: int) -> tuple[int, bool]:
        whole_blocks = (request.num_prompt_tokens - 1) // self.block_tokens * self.block_tokens
        tokens, asked = max(0, whole_blocks - num_computed_tokens), current()
        if not tokens or asked not in (KV_LOAD, KV_ARRIVAL):
            return 0, False
        (self.loads.in_step if asked == KV_LOAD else self.loads.arriving).add(request.request_id)
        return tokens, asked == KV_ARRIVAL

    def update_state_after_alloc(self, request: Any, blocks: Any, num_external_tokens: int) -> None:
        """Nothing: there are always blocks for all requests."""

    def build_connector_meta(self, scheduler_output: Any) -> Loads:
        loads, self.loads = self.loads, Loads()
        return loads

    # --- in the worker ---

    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:
        loads = self._get_connector_metadata()
        self.arriving |= loads.arriving
        if loads.in_step or loads.arriving:
            reached()
        while loads.in_step and current() == KV_LOAD:
            time.sleep(0.05)

    def get_finished(self, finished_req_ids: set[str]) -> tuple[None, set[str] | None]:
        if not self.arriving or current() == KV_ARRIVAL:
            return None, None
        arrived, self.arriving = self.arriving, set()
        return None, arrived

    def wait_for_layer_load(self, layer_name: str) -> None:
        """Nothing: a load ends before the step begins."""

    def save_kv_layer(self, layer_name: str, kv_layer: Any, attn_metadata: Any, **kwargs: Any) -> None:
        """Nothing is saved."""

    def wait_for_save(self) -> None:
        """Nothing is saved."""
