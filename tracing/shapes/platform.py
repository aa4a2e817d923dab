"""What a shape changes inside vLLM, in each of the engine's processes, before the engine is made.

Spawned processes import the program's module again, and forked ones inherit the change: no vLLM file is touched.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tracing.shapes import hindrance
from tracing.shapes.pretend import worker
from tracing.shapes.shape import Shape

if TYPE_CHECKING:
    from vllm.config import VllmConfig


def take_shape(shape: Shape) -> None:
    """Give this process a shape, and its pretend device."""
    if shape.runner_v2:
        let_triton_interpret()
    answer_as(shape)
    if shape.work:
        worker.give_steps(shape.work, shape.runner_v2)
    if hindrance.STRAGGLER in os.environ:
        hindrance.slow_last_worker(float(os.environ[hindrance.STRAGGLER]))


def let_triton_interpret() -> None:
    """Register a backend for the CPU with Triton, which its interpreter does not need but vLLM looks for."""
    from triton.backends import backends  # type: ignore[import-untyped]

    class Driver:
        @staticmethod
        def is_active() -> bool:
            return True

    class Backend:
        driver, compiler = Driver, None

    backends["cpu"] = Backend


def answer_as(shape: Shape) -> None:
    """Let the platform answer as the shape's would: what it has forced on the configuration is undone."""
    from vllm.platforms.cpu import CpuPlatform

    forced = CpuPlatform.check_and_update_config.__func__

    def check_and_update_config(cls: Any, config: VllmConfig) -> None:
        forced(cls, config)
        config.scheduler_config.async_scheduling = shape.async_scheduling
        if shape.worker_in_core:
            config.parallel_config.distributed_executor_backend = "uni"
        if shape.start_method == "fork":
            os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"

    CpuPlatform.check_and_update_config = classmethod(check_and_update_config)
