"""How an engine starts: the phases that vLLM only logs, with what its worker alone knows, one line each in a file."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

START_SITES = (  # phase, then what it is inside vLLM: module, class, method
    ("executor", "vllm.v1.executor.abstract", "Executor", "__init__"),
    ("profile", "vllm.v1.executor.abstract", "Executor", "determine_available_memory"),
    ("kv_allocation", "vllm.v1.executor.abstract", "Executor", "initialize_from_config"),
    ("warm_up", "vllm.v1.executor.abstract", "Executor", "compile_or_warm_up_model"),
    ("load_weights", "vllm.v1.worker.gpu_worker", "Worker", "load_model"),
    ("worker_kv", "vllm.v1.worker.gpu_worker", "Worker", "initialize_from_config"),
)


def start_wrapper(phase: str, folder: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def timed(self: Any, *args: Any, **kwargs: Any) -> Any:
            start = time.monotonic_ns()
            result = original(self, *args, **kwargs)
            mark = {"phase": phase, "pid": os.getpid(), "start_ns": start, "end_ns": time.monotonic_ns()}
            try:
                mark |= _worker_facts(phase, self, args)
                with Path(folder, "start.jsonl").open("a") as file:
                    file.write(json.dumps(mark) + "\n")
            except Exception as error:
                print(f"enginescope: start-up phase {phase} not recorded: {error}", file=sys.stderr)
            return result

        return timed

    return wrap


def _worker_facts(phase: str, owner: Any, args: tuple[Any, ...]) -> dict[str, Any]:
    """What only the worker knows: bytes of weights after loading, KV bytes and attention backends after allocation."""
    if phase == "load_weights":
        parameters = owner.get_model().parameters()
        return {"weights_bytes": sum(p.numel() * p.element_size() for p in parameters)}
    if phase == "worker_kv":
        backends = {g.backend.get_name() for groups in owner.model_runner.attn_groups for g in groups}
        return {"kv_cache_bytes": sum(t.size for t in args[0].kv_cache_tensors), "attention_backend": sorted(backends)}
    return {}
