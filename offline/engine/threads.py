"""The threads of several workers on one CPU: vLLM gives each a NUMA node, and fails where they are too few."""

from __future__ import annotations

import os
from pathlib import Path

from offline.spec.settings import EngineSettings
from probes.engineplatform import CPU, engine_platform

BIND, THREADS = "VLLM_CPU_OMP_THREADS_BIND", "OMP_NUM_THREADS"
NODES = Path("/sys/devices/system/node")
SIZES = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")


def worker_count(settings: EngineSettings) -> int:
    """The workers of an engine."""
    count = 1
    for name in SIZES:
        count *= int(settings.get(name) or 1)
    return count


def shared_threads(settings: EngineSettings, engines: int = 1) -> dict[str, str]:
    """The environment of engines whose workers share a CPU's nodes: unbound, each with its part of the cores.

    Empty where there is a node for each worker of an only engine (several would all begin with the first node), on
    another platform, and where the user has set it.
    """
    workers = engines * worker_count(settings)
    has_nodes = engines == 1 and workers <= len(list(NODES.glob("node[0-9]*")))
    if workers == 1 or engine_platform() != CPU or has_nodes:
        return {}
    cores = len(os.sched_getaffinity(0))
    asked = {BIND: "nobind", THREADS: str(max(1, cores // workers))}
    return {} if BIND in os.environ else {name: value for name, value in asked.items() if name not in os.environ}
