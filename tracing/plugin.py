"""The entry point that vLLM loads in each of its processes (group `vllm.general_plugins`).

It returns at once, importing nothing, unless a command of this toolkit asked for a watcher through the environment.
"""

import os

STEP_LOG = "ENGINESCOPE_STEP_LOG"  # a folder: each process that schedules writes its step log there
TRACE = "ENGINESCOPE_TRACE"  # a folder: each process writes its spans there
NVTX = "ENGINESCOPE_NVTX"  # not empty: the same spans as NVTX ranges too, where a tool listens
LISTENER = "NVTX_INJECTION64_PATH"  # by which NVTX itself finds that tool, once in each process


def load() -> None:
    """Install the watchers that the environment names; vLLM calls this once in every process it makes."""
    steps, trace = os.environ.get(STEP_LOG), os.environ.get(TRACE)
    if steps or trace:
        from tracing.hooks import install

        if steps:
            install.install_step_log(steps)
        if trace:
            install.install_recorder(trace, bool(os.environ.get(NVTX)) and LISTENER in os.environ)
