"""The process of one engine start, as the sweep starts it: with the step log in a scratch folder of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from enginescope_plugin import STEP_LOG
from offline.environments.environment import Environment
from offline.environments.packages import python_in
from probes.processes.engine import EngineProcess

ENTRY = "from offline.engine.arm import main; main()"
SHARED_MEMORY = Path("/dev/shm")
NOTHING: Mapping[str, str] = MappingProxyType({})


def start_process(
    log: Path, entry: str = ENTRY, environment: Mapping[str, str] = NOTHING, inside: Environment | None = None
) -> EngineProcess:
    """Start the process that will hold an engine, an arm's if nothing else is said; its output is appended to `log`.

    It gets some variables more, and runs `inside` another environment than this one.
    """
    folder = tempfile.mkdtemp(prefix="enginescope-", dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None)
    variables, scratch = {STEP_LOG: folder, **with_plugin(), **environment}, Path(folder)
    if inside is None:
        return EngineProcess(entry, log, variables, scratch=scratch)
    python, path = python_in(inside, scratch / "packages")
    return EngineProcess(entry, log, variables | path, scratch=scratch, python=python)


def with_plugin() -> dict[str, str]:
    """A list of plugins that the user set is extended, not replaced: without ours there is no step log."""
    plugins = os.environ.get("VLLM_PLUGINS")
    if plugins is None or "enginescope" in plugins.split(","):
        return {}
    return {"VLLM_PLUGINS": ",".join(filter(None, [plugins, "enginescope"]))}
