"""Which engine is meant by a process id or a server's address, and where its standing folder is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from enginescope_plugin import TRACE
from probes.errors import EnginescopeError, usage_error
from probes.metrics.endpoint import endpoint
from probes.processes.enginegroup import group_of, holds_engine, no_vllm, runs_python
from tracing.events import processfile
from tracing.events.standing import Standing, read, rooms
from tracing.record.watched import alive, runs


@dataclass(frozen=True)
class StandingEngine:
    """An engine that is always watched."""

    folder: Path
    standing: Standing

    def lives(self) -> bool:
        """Whether any of its processes still runs, or the one that made its folder."""
        return runs(self.standing.pid) or bool(alive(self.folder))

    def check_lives(self) -> None:
        """`EnginescopeError` where it has ended, with how to have what its rings still hold."""
        if not self.lives():
            raise EnginescopeError(f"the engine (pid {self.standing.pid}) has ended{self._left()}")

    def _left(self) -> str:
        """What there is of it, now that it has ended."""
        if self.standing.standby:
            return "; it was in standby, and kept no ring"
        kept = any(self.folder.glob("events-*.bin"))
        dump = f"python -m tracing.attach {self.standing.pid} --dump"
        return f"; what its rings held last is there still: {dump}" if kept else ""


def pid_of(target: str) -> int:
    """The process of an engine: its number, or who listens where a URL of this machine leads."""
    if target.isdecimal():
        return int(target)
    at = endpoint(target)
    if not at.is_local:
        raise usage_error(f"{at.authority} is not this machine: run this command there, or give a process id")
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == at.port and connection.pid:
                return _server(psutil.Process(connection.pid), at.port)
    raise EnginescopeError(
        f"no process of yours listens on port {at.port}: is the server up? If so, give its process id"
    )


def _server(process: psutil.Process, port: int) -> int:
    """The highest above a process that has its listening socket too: children that a server forked keep it open."""
    above = [parent for parent in process.parents() if _listens(parent, port)]
    return [process, *above][-1].pid


def _listens(process: psutil.Process, port: int) -> bool:
    with contextlib.suppress(psutil.Error):
        connections = process.net_connections("tcp")
        return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in connections)
    return False


def standing_engine(pid: int) -> StandingEngine | None:
    """The standing folder of the engine that a process belongs to, dead or alive; None where it has none.

    EnginescopeError where that is another user's, or where its times are not ours.
    """
    family = {pid, *_relatives(pid)}
    for folder in _folders(family):
        standing = read(folder)
        pids = {processfile.pid_of(path) for path in folder.glob("process-*.json")}
        if standing and family & {standing.pid, *pids}:
            if folder.stat().st_uid != os.getuid():
                raise EnginescopeError(f"{folder} belongs to another user: only that one may look at the engine")
            _check_clock(pid)
            return StandingEngine(folder, standing)
    return None


def check_running(pid: int, engine: StandingEngine | None) -> None:
    """`EnginescopeError` where the engine of a process has ended, and where a process that has no standing folder is
    nothing to look at either: neither vLLM nor any Python runs in it or below it but this command, and what has
    started that."""
    if engine:
        engine.check_lives()
        return
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())} - {pid}
    members = [member for member in group_of(pid) if member.pid != os.getpid()]
    if not holds_engine(members) and not any(runs_python(member.pid) for member in members if member.pid not in ours):
        raise no_vllm(pid)


def _check_clock(pid: int) -> None:
    """`EnginescopeError` where a process lives by another CLOCK_MONOTONIC than this one."""
    with contextlib.suppress(OSError):  # it has ended, or the kernel knows no time namespaces
        if os.readlink(f"/proc/{pid}/ns/time") != os.readlink("/proc/self/ns/time"):
            enter = f"nsenter --time --target {pid} python -m …"
            raise EnginescopeError(f"process {pid} has clocks of its own (a time namespace): {enter}")


def _folders(family: set[int]) -> Iterator[Path]:
    """Those named in the processes' environments, then all of this user, the newest first."""
    for pid in family:
        with contextlib.suppress(psutil.Error, OSError):
            if folder := psutil.Process(pid).environ().get(TRACE):
                yield Path(folder)
    folders = [folder for room in rooms() if room.is_dir() for folder in room.iterdir()]
    yield from sorted(folders, key=lambda folder: folder.stat().st_mtime, reverse=True)


def _relatives(pid: int) -> set[int]:
    """The processes above and below one; none where it has ended, or where all descend from it."""
    if pid == 1:
        return set()
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        above = [parent.pid for parent in process.parents() if parent.pid > 1 and parent.pid != os.getpid()]
        return {*above, *(child.pid for child in process.children(recursive=True))}
    return set()
