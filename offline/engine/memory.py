"""The memory of an engine's processes, looked at from inside its front end right after the start."""

from __future__ import annotations

import contextlib
import os

import psutil

from offline.records.lines import ProcessMemory
from probes.processes.group import members


def process_memory() -> list[ProcessMemory]:
    """Resident bytes of every process of this one's group, the largest first, by vLLM's own process titles."""
    entries = []
    for process in members(os.getpgrp()):
        with contextlib.suppress(psutil.Error):
            title = " ".join(process.cmdline()[:3]) or process.name()
            role = "front end" if process.pid == os.getpid() else _role(title)
            entries.append(ProcessMemory(role, process.pid, process.memory_info().rss))
    return sorted(entries, key=lambda entry: -entry.rss_bytes)


def _role(title: str) -> str:
    return title.split()[0] if title.startswith("VLLM::") else "helper"
