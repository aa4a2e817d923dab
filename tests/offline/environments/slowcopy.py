"""Copies of the installed vLLM whose scheduler is slower."""

from __future__ import annotations

import os
import shutil
import textwrap
from pathlib import Path

from tests.needs import installed_vllm

SCHEDULER = Path("vllm/v1/core/sched/scheduler.py")
FIRST = "        self.current_step += 1\n"  # the first statement of `Scheduler.schedule`


def slow_copy(folder: Path, statements: str) -> Path:
    """The installed vLLM in a folder, with statements at the start of `schedule`; compiled parts are links."""

    def copy(source: str, target: str) -> None:
        (shutil.copy2 if source.endswith(".py") else os.symlink)(source, target)

    shutil.copytree(installed_vllm().root, folder / "vllm", copy_function=copy)
    head, mark, rest = (folder / SCHEDULER).read_text().partition(FIRST)
    assert "    def schedule(" in head.splitlines()[-1]
    planted = textwrap.indent(textwrap.dedent(statements).strip(), " " * 8)
    (folder / SCHEDULER).write_text(f"{head}{planted}\n{mark}{rest}")
    return folder
