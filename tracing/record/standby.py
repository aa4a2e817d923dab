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
from tracing.hooks.standing import make, start_keeper
from tracing.kept.condition import parse
from tracing.record.command import environment, run
from tracing.record.folder import discard, new_folder
from tracing.record.watched import linger


def stand_by(command: list[str], ring: str | None, out: Path | None, partial: bool) -> int:
    """Run the command; its exit code, or that of the trace folder into which the rings go at its end."""
    if out and not ring:
        raise usage_error("--standby leaves no trace folder of its own: give --out to python -m tracing.attach")
    folder = _make_ring(ring)
    try:
        trace = new_folder(out) if ring else None  # now: a name that is taken must not cost what the rings will hold
        way = "--dump" if ring else "--seconds 10"
        print(f"standing by: python -m tracing.attach {os.getpid()} {way}", file=sys.stderr)
        code = _run(command, folder, trace)
        engine = standing.read(folder)
        if trace is None or engine is None:
            return code
        return recording.dump(StandingEngine(folder, engine), trace, partial) or code
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def keep(command: list[str], conditions: list[str], ring: str, out: Path | None) -> int:
    """Run the command and keep what lies around each event that meets a condition; its exit code."""
    for text in conditions:
        parse(text)  # what is wrong with one is said before anything runs
    folder, kept = _make_ring(ring), out or new_folder(None)
    try:
        keeper = start_keeper(conditions, str(kept))
        try:
            return _run(command, folder, None)
        finally:
            keeper.terminate()  # it finishes what it keeps, and says what comes next
            keeper.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[str], folder: Path, trace: Path | None) -> int:
    """Run the command until its processes have ended; its exit code. One that cannot be started leaves no trace."""
    try:
        code = run(command, environment(folder, nvtx=False))
    except EnginescopeError:
        if trace:
            discard(trace)
        raise
    linger(folder)
    return code


def _make_ring(ring: str | None) -> Path:
    try:
        return make(ring)
    except ValueError as error:
        raise usage_error(f"--ring: {error}") from None
    except OSError as error:
        raise EnginescopeError(f"cannot stand by: {error}") from None
