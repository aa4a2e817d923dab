"""Which of vLLM's implementations runs in a shape: several classes stand for one another behind one tracing site."""

from __future__ import annotations

from collections.abc import Callable

from tracing.shapes.shape import Shape

Condition = Callable[[Shape], bool]


def _batches(shape: Shape) -> bool:
    return shape.front_end == "batch"


def _streams(shape: Shape) -> bool:
    return not _batches(shape)


def _serves(shape: Shape) -> bool:
    return shape.front_end == "server"


def _one_process(shape: Shape) -> bool:
    return shape.environment.get("VLLM_ENABLE_V1_MULTIPROCESSING") == "0"


def _core_apart(shape: Shape) -> bool:
    return not _one_process(shape)


def _worker_inside(shape: Shape) -> bool:
    return shape.worker_in_core or _one_process(shape)


def _worker_apart(shape: Shape) -> bool:
    return not _worker_inside(shape)


def _several_engines(shape: Shape) -> bool:
    return shape.processes["core"] > 1


def _several_workers(shape: Shape) -> bool:
    return shape.processes["worker"] > shape.processes["core"]


# By the beginning of a target; the longest that fits counts. What is not here may run in any shape.
RUNS_WHERE: dict[str, Condition] = {
    "vllm.entrypoints.llm:": _batches,
    "vllm.entrypoints.common.offline:": _batches,
    "vllm.v1.engine.llm_engine:": _batches,
    "vllm.v1.engine.async_llm:": _streams,
    "vllm.entrypoints.cli.serve:": _serves,
    "vllm.entrypoints.openai.": _serves,
    "vllm.entrypoints.serve.": _serves,
    "vllm.v1.engine.core_client:InprocClient.": _one_process,
    "vllm.v1.engine.core_client:SyncMPClient.": lambda shape: _batches(shape) and _core_apart(shape),
    "vllm.v1.engine.core_client:AsyncMPClient.": _streams,
    "vllm.v1.engine.core_client:DPAsyncMPClient.": _several_engines,
    "vllm.v1.engine.core_client:DPLBAsyncMPClient.": _several_engines,
    "vllm.v1.engine.coordinator:": _several_engines,
    "vllm.v1.engine.core:EngineCore.step": lambda shape: not shape.async_scheduling,
    "vllm.v1.engine.core:EngineCore.step_with_batch_queue": lambda shape: shape.async_scheduling,
    "vllm.v1.engine.core:EngineCoreProc.": _core_apart,
    "vllm.v1.engine.core:DPEngineCoreProc.": _several_engines,
    "vllm.v1.core.sched.async_scheduler:": lambda shape: shape.async_scheduling,
    "vllm.v1.executor.multiproc_executor:": _worker_apart,
    "vllm.v1.executor.uniproc_executor:": _worker_inside,
    "vllm.distributed.device_communicators.shm_broadcast:": _worker_apart,
    "vllm.distributed.communication_op:": _several_workers,
    "vllm.v1.worker.gpu_model_runner:": lambda shape: not shape.runner_v2,
    "vllm.v1.worker.gpu.": lambda shape: shape.runner_v2,
}


def runs(target: str, shape: Shape) -> bool:
    """Whether a function can run in a shape at all, as far as it is known that another one runs instead."""
    fitting = [start for start in RUNS_WHERE if target.startswith(start)]
    return not fitting or RUNS_WHERE[max(fitting, key=len)](shape)
