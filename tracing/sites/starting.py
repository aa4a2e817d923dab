"""The phases of an engine's start: functions of vLLM that its processes call before the first request, each once.

`name` is the phase's in `FILE`, `stage` what it is called where it is shown. A phase of one process may hold
another of the same or of a later one, for which it then waits.
"""

from __future__ import annotations

from .site import Site
from .worker import RUNNER_V1, RUNNER_V2

FILE = "start.jsonl"  # a line a phase, in the folder of a trace or of a sweep's engine

_EXECUTOR = "vllm.v1.executor.abstract:Executor"
_WORKER = "vllm.v1.worker.gpu_worker:Worker"
_CPU_WORKER = "vllm.v1.worker.cpu_worker:CPUWorker"
_RUNNERS = (RUNNER_V1, RUNNER_V2)

START_SITES: tuple[Site, ...] = (
    Site("configuration", "configuration", "front end", ("vllm.engine.arg_utils:EngineArgs.create_engine_config",)),
    Site("core_wait", "wait: core", "front end", ("vllm.v1.engine.utils:wait_for_engine_startup",), share="wait"),
    Site("executor", "executor", "core", (f"{_EXECUTOR}.__init__",)),
    Site("profile", "memory profile", "core", (f"{_EXECUTOR}.determine_available_memory",)),
    Site("kv_allocation", "KV cache", "core", (f"{_EXECUTOR}.initialize_from_config",)),
    Site("warm_up", "compile and warm up", "core", (f"{_EXECUTOR}.compile_or_warm_up_model",)),
    Site("device", "device", "worker", (f"{_WORKER}.init_device", f"{_CPU_WORKER}.init_device")),
    Site("load_weights", "weights", "worker", (f"{_WORKER}.load_model",)),
    Site(
        "worker_profile",
        "memory profile",
        "worker",
        (f"{_WORKER}.determine_available_memory", f"{_CPU_WORKER}.determine_available_memory"),
    ),
    Site("worker_kv", "KV cache", "worker", (f"{_WORKER}.initialize_from_config",)),
    Site(
        "worker_warm_up",
        "compile and warm up",
        "worker",
        (f"{_WORKER}.compile_or_warm_up_model", f"{_CPU_WORKER}.compile_or_warm_up_model"),
    ),
    Site("graph_capture", "graph capture", "worker", tuple(f"{runner}.capture_model" for runner in _RUNNERS)),
)

# Those that a sweep times: what vLLM only logs of them is too coarse for its table.
SWEEP_PHASES = ("executor", "profile", "kv_allocation", "warm_up", "load_weights", "worker_kv")
