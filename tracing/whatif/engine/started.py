"""An engine that is started to be measured: one of our own under a load, or whatever a command starts. It stands by,
and can be delayed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from enginescope_plugin import MODE, RING, TRACE
from probes.errors import EnginescopeError, usage_error
from probes.processes.child import ChildProcess
from probes.processes.engine import ENVIRONMENT
from probes.processes.log import first_reason
from probes.programs import OWN_PYTHON
from tracing.attach.engine import StandingEngine, standing_engine
from tracing.record.command import with_plugin
from tracing.shapes import start
from tracing.shapes.shape import Shape

ENTRY = (  # see `load`
    "import sys; from tracing.whatif.engine import load; sys.modules['__main__'] = load; load.main(*sys.argv[1:])"
)
START_S = 300.0
PERIOD_S = 0.5
STOP_S = 20.0


@contextmanager
def loaded_engine(
    shape: Shape, streams: int, rate: float, model: str, log: Path
) -> Iterator[tuple[StandingEngine, ChildProcess]]:
    """Start an engine of a shape under so many streams, or where they are 0 under so many requests a second, on its own
    model where none is given; it ends with the block.

    EnginescopeError where no engine is there after a while.
    """
    words = [*OWN_PYTHON, "-c", ENTRY, str(streams), str(rate), model]
    with started_engine(words, {**ENVIRONMENT, **start.environment(shape)}, log) as engine:
        yield engine


@contextmanager
def started_engine(
    words: Sequence[str], environment: Mapping[str, str], log: Path
) -> Iterator[tuple[StandingEngine, ChildProcess]]:
    """Start a program or server that uses vLLM; it ends with the block, and its standing folder goes with it. What it
    says goes into a log.

    EnginescopeError where it cannot be started, or no engine of it is there after a while.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in (TRACE, RING)}
    variables = with_plugin({**inherited, **environment, MODE: "standby"})
    try:
        child = ChildProcess(words, log, variables)
    except OSError as error:
        raise usage_error(f"cannot run {words[0]!r}: {error.strerror}") from None
    engine = None
    try:
        engine = _standing(child)
        yield engine, child
    except EnginescopeError as error:
        reason = None if child.running else first_reason(child.logged())
        raise EnginescopeError(f"{error}: {reason}") if reason else error from None
    finally:
        stop(child)
        if engine:
            shutil.rmtree(engine.folder, ignore_errors=True)


def _standing(child: ChildProcess) -> StandingEngine:
    deadline = time.monotonic() + START_S
    while child.running and time.monotonic() < deadline:
        if engine := standing_engine(child.pid):
            return engine
        time.sleep(PERIOD_S)
    raise EnginescopeError("the engine did not start")


def stop(child: ChildProcess) -> None:
    """Let it shut its engine down, which puts shared memory away, and end what is left."""
    child.find_groups()
    child.process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.process.wait(STOP_S)
    child.end()
