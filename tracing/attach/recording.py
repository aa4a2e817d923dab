"""Leaves a trace folder of a standing engine: of the next seconds, or of what its rings hold."""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from probes.console import counted
from probes.errors import EnginescopeError, terminable
from tracing.attach.engine import StandingEngine
from tracing.attach.liveprofile import LiveProfile
from tracing.attach.moved import Moved, wait_until
from tracing.attach.switch import NS_PER_S, turned_on
from tracing.record import trace
from tracing.record.command import Watchers
from tracing.record.contention import sampled_contention
from tracing.record.folder import discard, is_empty
from tracing.record.summary import summary
from tracing.record.watched import missing

MOVE_PERIOD_S = 0.2
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def record(
    engine: StandingEngine, folder: Path, seconds: float, partial: bool, profile: LiveProfile | None = None
) -> int:
    """Record for some seconds, until a profile beside it has all its steps, or until Ctrl-C; the exit code."""
    with _disk_of(folder), traced(engine, folder) as problems:
        moved = Moved(engine.folder, folder)
        moved.skip()
        with _nothing_left_of(moved), sampled_contention(folder):
            problems += _recorded(engine, moved, seconds, profile)
        problems += missing(folder, [engine.standing.title])
        problems += profile.collect(folder) if profile else []
    return _ended(folder, problems, partial)


def _recorded(engine: StandingEngine, moved: Moved, seconds: float, profile: LiveProfile | None) -> list[str]:
    turned = turned_on(engine) if engine.standing.standby else nullcontext(time.monotonic_ns())  # a ring is always on
    beside = profile.running() if profile else nullcontext(lambda: False)
    with turned as begin_ns, beside as enough:
        _say_begun(moved, f"{seconds:g} s at most" if profile else f"{seconds:g} s")
        with stopped_early(begin_ns, seconds):
            _move_until(moved, begin_ns + round(seconds * NS_PER_S), enough)
    return moved.close(begin_ns)


def _say_begun(moved: Moved, length: str) -> None:
    """Say what is recorded, and for how long."""
    of = counted(sum(file.lives() for file in moved.files.values()), "process", "processes")
    print(f"recording {of} for {length}; Ctrl-C ends it sooner", file=sys.stderr, flush=True)


def _move_until(moved: Moved, end_ns: int, enough: Callable[[], bool]) -> None:
    """Move what is recorded until a moment, or until the engine has ended."""
    while not enough() and wait_until(end_ns, MOVE_PERIOD_S):
        moved.move()
        if moved.files and not any(file.lives() for file in moved.files.values()):
            print("the engine has ended", file=sys.stderr, flush=True)
            return


@contextmanager
def stopped_early(begin_ns: int, seconds: float) -> Iterator[None]:
    """Where Ctrl-C cuts the seconds short that began then, say so, and go on: what there is makes a folder as well."""
    try:
        with terminable():
            yield
    except KeyboardInterrupt:
        took_s = (time.monotonic_ns() - begin_ns) / NS_PER_S
        print(f"stopped after {round(took_s, 1):g} of {seconds:g} s", file=sys.stderr, flush=True)


def dump(engine: StandingEngine, folder: Path, partial: bool) -> int:
    """Write what the rings hold now, of living and of dead processes; the exit code."""
    with _disk_of(folder), traced(engine, folder) as problems:
        problems += Moved(engine.folder, folder).close()
        problems += missing(folder, [engine.standing.title])
    return _ended(folder, problems, partial)


@contextmanager
def traced(engine: StandingEngine, folder: Path) -> Iterator[list[str]]:
    """`trace.json` around a recording, which adds its problems."""
    problems: list[str] = []
    begun = trace.begin(folder, engine.standing.title, Watchers(nvtx=False, nsys=False, py_spy=0))
    yield problems
    if is_empty(folder):
        discard(folder)
        raise EnginescopeError(f"{engine.folder} holds nothing of any process: did they all end?")
    trace.end(folder, begun, 0, problems)


@contextmanager
def _nothing_left_of(moved: Moved) -> Iterator[None]:
    """Of what could not begin, as where another reader records already, there is no folder."""
    try:
        yield
    except EnginescopeError:
        if moved.is_empty():
            discard(moved.folder)
        raise


@contextmanager
def _disk_of(folder: Path) -> Iterator[None]:
    """Where the disk is full, leave nothing on it: the engine may need it too."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        discard(folder)
        raise EnginescopeError(f"cannot write {folder}: {error.strerror}; name another with --out") from None


def _ended(folder: Path, problems: list[str], partial: bool) -> int:
    return summary(folder, 0, problems, partial)
