"""Becomes the program of a shape: the same command again, in the environment that the shape needs from the start."""

from __future__ import annotations

import os
import sys

from tracing.shapes.platform import VARIABLE
from tracing.shapes.pretend.work import VARIABLE as WORK
from tracing.shapes.pretend.work import Work
from tracing.shapes.shape import Shape

QUIET = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}


def environment(shape: Shape, work: Work | None) -> dict[str, str]:
    """What the shape's processes find in their environment beside the caller's."""
    device = {WORK: work.as_variable()} if work else {}
    return QUIET | shape.environment | {VARIABLE: shape.name} | device


def become(module: str, shape: Shape, work: Work | None) -> None:
    """Run the command `python -m MODULE` in this process's place; returns where that is what runs already."""
    if os.environ.get(VARIABLE) != shape.name:
        os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], os.environ | environment(shape, work))
