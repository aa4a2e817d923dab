"""Becomes the program of a shape: the same command again, in the environment that the shape needs from the start."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

from probes.programs import OWN_PYTHON
from tracing.shapes.pretend.work import VARIABLE as WORK
from tracing.shapes.pretend.work import work_of
from tracing.shapes.shape import Shape, shape_named

VARIABLE = "ENGINESCOPE_SHAPE"  # the shape's name, for the engine's processes
# One thread is enough for two layers; more would wait for each other where other work has their cores.
SMALL = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "OMP_NUM_THREADS": "1"}


def environment(shape: Shape) -> dict[str, str]:
    """What the shape's processes find in their environment beside the caller's."""
    device = {WORK: shape.work.as_variable()} if shape.work else {}
    return SMALL | shape.environment | {VARIABLE: shape.name} | device


def started_shape() -> Shape | None:
    """The shape that this process's environment names; None where it is no process of a shape's."""
    if VARIABLE not in os.environ:
        return None
    work = work_of(os.environ[WORK]) if WORK in os.environ else None
    return replace(shape_named(os.environ[VARIABLE]), work=work)


def become(module: str, shape: Shape) -> None:
    """Run the command `python -m MODULE` in this process's place, as the shape's."""
    os.execve(sys.executable, [*OWN_PYTHON, "-m", module, *sys.argv[1:]], os.environ | environment(shape))
