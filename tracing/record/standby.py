"""Runs a command whose engine is watched without end: recorded when somebody asks, or into rings in memory."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from probes.errors import EnginescopeError, usage_error
from tracing.attach import recording
from tracing.attach.engine import StandingEngine
from tracing.events import standing
from tracing.hooks.standing import make
from tracing.record.command import environment, run
from tracing.record.folder import new_folder
from tracing.record.watched import linger


def stand_by(command: list[str], ring: str | None, out: Path | None, partial: bool) -> int:
    """Run the command; its exit code, or that of the trace folder into which the rings go at its end."""
    if out and not ring:
        raise usage_error("--standby leaves no trace folder of its own: give --out to python -m tracing.attach")
    folder = _made(ring)
    way = "--dump" if ring else "--seconds 10"
    print(f"standing by: python -m tracing.attach {os.getpid()} {way}", file=sys.stderr)
    try:
        code = run(command, environment(folder, nvtx=False))
        linger(folder)
        engine = standing.read(folder)
        if not ring or engine is None:
            return code
        return recording.dump(StandingEngine(folder, engine), new_folder(out), partial) or code
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _made(ring: str | None) -> Path:
    try:
        return make(ring)
    except ValueError as error:
        raise usage_error(f"--ring: {error}") from None
    except OSError as error:
        raise EnginescopeError(f"cannot stand by: {error}") from None
