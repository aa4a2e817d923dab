"""A plugin that has vLLM fork its core and workers where the CPU platform insists on spawning them.

A forked process does not import vLLM anew, which takes longer than all the rest of an engine's start. CUDA's own start
method is fork. It is loaded where this folder is in `PYTHONPATH`, by its entry point.
"""

from __future__ import annotations

import os
from typing import Any


def load() -> None:
    """Set the start method after the platform has set its own."""
    from vllm.platforms.cpu import CpuPlatform

    check = CpuPlatform.check_and_update_config

    def check_and_fork(config: Any) -> None:
        check(config)
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"

    CpuPlatform.check_and_update_config = staticmethod(check_and_fork)
