"""How an engine starts: the phases that vLLM only logs, with what its worker alone knows, one line each in a file."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..sites.starting import FILE
from .complaint import complain
from .patching import Wrap

Facts = Callable[..., dict[str, Any]]


def start_wrapper(phase: str, folder: str, facts: Facts | None = None) -> Wrap:
    """The wrapper that writes a line when a phase has ended, with `facts` of the call's arguments by position."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.monotonic_ns()
            result = original(*args, **kwargs)
            mark = {"phase": phase, "pid": os.getpid(), "start_ns": start, "end_ns": time.monotonic_ns()}
            try:
                if facts:
                    mark |= facts(*args)
                with Path(folder, FILE).open("a") as file:
                    file.write(json.dumps(mark) + "\n")
            except Exception as error:
                complain(f"start-up phase {phase} not recorded: {error}")
            return result

        return timed

    return wrap


def created_ns() -> int:
    """When the kernel made this process, on CLOCK_MONOTONIC; it counts in ticks of 10 ms."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    age_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    return time.monotonic_ns() - age_ns


def _weights(worker: Any) -> dict[str, Any]:
    parameters = worker.get_model().parameters()
    return {"weights_bytes": sum(p.numel() * p.element_size() for p in parameters)}


def _kv_cache(worker: Any, config: Any) -> dict[str, Any]:
    backends = {group.backend.get_name() for groups in worker.model_runner.attn_groups for group in groups}
    return {"kv_cache_bytes": sum(t.size for t in config.kv_cache_tensors), "attention_backend": sorted(backends)}


# What only the worker knows: bytes of weights after loading, KV bytes and attention backends after allocation.
WORKER_FACTS: dict[str, Facts] = {"load_weights": _weights, "worker_kv": _kv_cache}
