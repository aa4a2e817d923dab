"""How many engines this machine holds at a time: an estimate, from the plan and the memory that is free."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import psutil

from offline.spec.estimate import kind_of
from offline.spec.grid import Arm
from offline.spec.models import Models
from probes.errors import EnginescopeError
from probes.machine import Machine

GIB = 1 << 30
PROCESSES_BYTES = 2 * GIB  # three processes with torch and vLLM: 1.9 to 2.0 GiB seen
WORKER_BYTES = GIB  # each further worker
SPARE_BYTES = 2 * GIB  # left to everything else


def engine_bytes(arm: Arm, model: Path | str) -> int:
    """Memory of one engine of an arm on CPU: its processes, its KV cache, and its weights, in float32 at worst."""
    settings = arm.settings
    workers = int(settings.get("tensor_parallel_size") or 1) * int(settings.get("pipeline_parallel_size") or 1)
    weights = 2 * sum(path.stat().st_size for path in Path(model).glob("*") if path.is_file())
    cache = int(settings.get("kv_cache_memory_bytes") or GIB)
    return PROCESSES_BYTES + (workers - 1) * WORKER_BYTES + workers * cache + weights


def engines_alive(grid: Sequence[Arm], models: Models, machine: Machine) -> int:
    """How many engines may be alive together: all arms, fewer where memory is short, one on a GPU.

    On a GPU the first engine takes the memory of its KV cache, and a frozen one does not give it back.
    """
    if kind_of(machine) == "gpu":
        return 1
    free = psutil.virtual_memory().available - SPARE_BYTES
    return max(1, min(len(grid), free // _largest_bytes(grid, models)))


def _largest_bytes(grid: Sequence[Arm], models: Models) -> int:
    return max(engine_bytes(arm, models.of(arm.settings)) for arm in grid)


def refuse_too_many(grid: Sequence[Arm], models: Models, machine: Machine, alive: int) -> None:
    """Refuse to continue a run with fewer engines alive than it was begun with: its passes would be others."""
    if alive > (now := engines_alive(grid, models, machine)):
        need = alive * _largest_bytes(grid, models) / GIB
        free = psutil.virtual_memory().available / GIB
        raise EnginescopeError(
            f"the run keeps {alive} engines alive, an estimated {need:.1f} GiB, and {free:.1f} GiB are free, "
            f"enough for {now}: free some memory, or start a new run"
        )
