"""Shapes from one process that has imported vLLM: each front end is a fork of it, and so are its engine's processes.

Importing vLLM takes longer than all that a shape does, so the tests' engines are started in this way. None is spawned
then, whatever its shape says: the table of shapes is made of engines that `python -m tracing.record` started.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from probes.errors import EnginescopeError
from tracing.record import folder as tracefolder
from tracing.record import trace
from tracing.record.command import Watchers, environment
from tracing.record.contention import sampled_contention
from tracing.record.watched import linger, missing
from tracing.shapes import start
from tracing.shapes.engine import conversation
from tracing.shapes.platform import take_shape
from tracing.shapes.shape import Shape

FORKED = "(forked)"  # begins the command of a trace whose engine was started in this way


def can_fork(shape: Shape) -> bool:
    """Whether a fork of a process that has imported vLLM can take this shape."""
    return shape.front_end != "server" and not shape.runner_v2


def record(shape: Shape, folder: Path, log: Path) -> bool:
    """Record a shape's demonstration into a folder; True in the fork, which has done it and is to end."""
    command = ["python", "-m", "tracing.demo", "--shape", shape.name]
    words = " ".join([FORKED, *command])
    try:
        folder = tracefolder.new_folder(folder)
    except EnginescopeError as error:  # something else is in it
        log.write_text(f"error: {error}\n")
        return False
    begun = trace.begin(folder, words, Watchers(nvtx=False, nsys=False, py_spy=0))
    pid = os.fork()
    if pid == 0:
        hold(shape, folder, log)
        return True
    with sampled_contention(folder):
        _, status = os.waitpid(pid, 0)
    linger(folder)
    trace.end(folder, begun, os.waitstatus_to_exitcode(status), missing(folder, command))
    return False


def hold(shape: Shape, folder: Path, log: Path) -> None:
    """Be the front end of a shape, recorded."""
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    forked = replace(shape, start_method="fork")
    os.environ.update(environment(folder, nvtx=False) | start.environment(forked))
    take_shape(forked)
    conversation.hold(forked)
