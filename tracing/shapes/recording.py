"""Records shapes one after the other, each into a folder of its own, and says how it goes.

Each is started as its description says, by the command that a user would give: forked engines, which start sooner and
are all of one configuration in this, are for the tests.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from probes.errors import EnginescopeError
from probes.processes.child import ChildProcess
from probes.programs import OWN_PYTHON
from tracing.events.tracefile import TraceRecord, read_trace
from tracing.record.folder import discard
from tracing.shapes import nursery, start
from tracing.shapes.engine import conversation
from tracing.shapes.shape import Shape

SHAPE_S = 45.0  # until one has been timed: three processes import vLLM one after the other
HUNG = "TimeoutError: not ended after"  # begins the last line of the log of one that was ended
LIMIT_S = 900.0  # of one shape: an engine that hangs is ended, and the next shape begins


def is_recorded(folder: Path) -> bool:
    """Whether a folder holds a recording whose program ended well."""
    trace = trace_of(folder)
    return trace is not None and trace.exit_code == 0


def is_failed(folder: Path, shape: Shape) -> bool:
    """Whether a folder holds a recording of the shape whose program failed, or was ended: nothing of anybody else's."""
    trace = trace_of(folder)
    return trace is not None and trace.exit_code != 0 and trace.command.endswith(f"tracing.demo --shape {shape.name}")


def trace_of(folder: Path) -> TraceRecord | None:
    """The recording of a folder; None where there is none or it is damaged."""
    with contextlib.suppress(EnginescopeError):
        return read_trace(folder)
    return None


def log_of(folder: Path) -> Path:
    """What the program of a recording printed."""
    return folder.with_name(f"{folder.name}-log.txt")


def record_all(shapes: Sequence[Shape], out: Path, forked: bool) -> bool:
    """Record those that `out` has no whole recording of; True in a fork, which is to end.

    A shape that fails leaves its reason in its log, and the next one is recorded.
    """
    absent = [shape for shape in shapes if not is_recorded(out / shape.name)]
    if recorded := len(shapes) - len(absent):
        print(f"{recorded} of {len(shapes)} shapes are recorded in {out} already", flush=True)
    if forked and any(map(nursery.can_fork, absent)):
        os.environ.update(start.SMALL)
        conversation.import_engine()
    began = time.monotonic()
    for number, shape in enumerate(absent):
        print(f"{number + 1} of {len(absent)}: {shape.name}, {left(number, len(absent), began)}", flush=True)
        if record(shape, out / shape.name, forked):
            return True
    return False


def left(done: int, number: int, began: float) -> str:
    """How long the rest of so many shapes takes, after what those took that are done since `began`."""
    each_s = (time.monotonic() - began) / done if done else SHAPE_S
    return f"about {max(each_s * (number - done) / 60, 1):.0f} min left"


def record(shape: Shape, folder: Path, forked: bool) -> bool:
    """Record a shape, and say where its program failed; True in a fork, which is to end."""
    if is_failed(folder, shape):
        discard(folder)
    if not (forked and nursery.can_fork(shape)):
        run(shape.name, folder)
    elif nursery.record(shape, folder, log_of(folder)):
        return True
    if not is_recorded(folder):
        print(f"{shape.name} failed: see {log_of(folder)}", flush=True)
    return False


def run(name: str, folder: Path) -> None:
    """Record a shape's demonstration from its start, in processes of its own."""
    command = [*OWN_PYTHON, "-m", "tracing.record", "--out", str(folder), "--partial", "--"]
    command += [*OWN_PYTHON, "-m", "tracing.demo", "--shape", name]
    log = log_of(folder)
    log.unlink(missing_ok=True)
    program = ChildProcess(command, log, os.environ)
    try:
        program.process.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        program.end()  # first: its own last words come before
        with log.open("a") as file:
            file.write(f"\n{HUNG} {LIMIT_S:.0f} s\n")
    finally:
        program.end()
