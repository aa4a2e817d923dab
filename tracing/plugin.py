"""The entry point that vLLM loads in each of its processes (group `vllm.general_plugins`).

It returns at once, importing nothing, unless a command of this toolkit asked for a watcher through the environment.
"""

import os

STEP_LOG = "ENGINESCOPE_STEP_LOG"  # a folder: each process that schedules writes its step log there


def load() -> None:
    """Install the watchers that the environment names; vLLM calls this once in every process it makes."""
    folder = os.environ.get(STEP_LOG)
    if folder:
        from tracing import hooks

        hooks.install(folder)
