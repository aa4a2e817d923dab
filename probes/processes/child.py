"""A program as our child: in a process group of its own, with a log, frozen and thawed, and ended whole.

A keeper beside it, which is never frozen, ends the groups the moment we are gone, whatever ended us.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from probes.processes.group import end_group, members
from probes.programs import OWN_PYTHON

KEEPER = "from probes.processes.child import keep; keep()"
PARENT_DEATH_SIGNAL = 1  # prctl's PR_SET_PDEATHSIG


class ChildProcess:
    """A started program; `outlives` leaves it running when we end, unless `end` was called.

    `scratch` is a folder that goes with it.
    """

    def __init__(
        self,
        words: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        fds: Sequence[int] = (),
        scratch: Path | None = None,
        outlives: bool = False,
    ) -> None:
        self.log, self.scratch = log, scratch
        self._keeper = None if outlives else _start_keeper(scratch)
        try:
            with log.open("ab") as out:
                self._log_start = out.tell()
                self.process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    pass_fds=fds,
                    start_new_session=True,
                    env=environment,
                    preexec_fn=None if outlives else _killed_with_parent(),
                )
        except BaseException:
            self._dismiss_keeper()
            raise
        self.groups: set[int] = set()
        self._watch(self.pid)

    @property
    def pid(self) -> int:
        """The program's own process, which leads its group."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether the program itself has not ended."""
        return self.process.poll() is None

    def logged(self) -> str:
        """What it and its children have logged so far."""
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            return file.read().decode(errors="replace")

    def find_groups(self) -> None:
        """Take in the groups of all its descendants: nsys gives what it runs a session of its own."""
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self.pid).children(recursive=True):
                with contextlib.suppress(ProcessLookupError):
                    self._watch(os.getpgid(child.pid))

    def members(self) -> list[psutil.Process]:
        """The processes of its groups."""
        return members(*self.groups)

    def freeze(self) -> None:
        """Stop all of its processes: they take no processor until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let frozen processes continue."""
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """Kill all of its processes and wait until they are gone; a second call does nothing."""
        self.find_groups()
        end_group(*self.groups)
        self.process.wait()
        self._dismiss_keeper()
        if self.scratch:
            shutil.rmtree(self.scratch, ignore_errors=True)
        self.groups.clear()

    def _signal(self, number: signal.Signals) -> None:
        for process in self.members():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def _watch(self, group: int) -> None:
        if group not in self.groups and self._keeper and self._keeper.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._keeper.stdin.write(f"{group}\n".encode())
                self._keeper.stdin.flush()
        self.groups.add(group)

    def _dismiss_keeper(self) -> None:
        if self._keeper:
            self._keeper.kill()  # not by the end of its input: it would look for groups that others may have by now
            self._keeper.communicate()
            self._keeper = None


def _start_keeper(scratch: Path | None) -> subprocess.Popen[bytes]:
    folders = [str(scratch)] if scratch else []
    return subprocess.Popen([*OWN_PYTHON, "-c", KEEPER, *folders], stdin=subprocess.PIPE, start_new_session=True)


def keep() -> None:
    """The keeper's process: groups on stdin, a line each; when we are gone they are ended and the folders removed."""
    end_group(*[int(line) for line in sys.stdin])
    for folder in sys.argv[1:]:
        shutil.rmtree(folder, ignore_errors=True)


def _killed_with_parent() -> Callable[[], object] | None:
    """What a child calls so that it ends with us even before the keeper knows of it."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # loaded here: a forked child should not
    return lambda: prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
