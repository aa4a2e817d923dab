"""py-spy as a process of ours: where it is, how it is started and stopped, and why it could not sample."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from probes.errors import EnginescopeError
from probes.privacy.secretvalues import is_secret
from probes.programs import program

START_TIMEOUT_S = 30.0

NO_PYTHON = "No python processes found"
REFUSED = (
    "ptrace was refused; run as root (Docker: --cap-add SYS_PTRACE), or: sudo sysctl -w kernel.yama.ptrace_scope=0"
)
# What py-spy says when it cannot, and what to do; the first that is found in its words.
REMEDIES = (
    ("permission denied", REFUSED),
    ("operation not permitted", REFUSED),
    ("python version", "not a Python that it knows; name a Python process, or: pip install -U py-spy"),
    ("process executable name", "the process ended before py-spy saw it; look for one that runs with: ps aux"),
)


def py_spy() -> Path:
    """py-spy on PATH or beside this Python; `EnginescopeError` where there is none."""
    path = program("py-spy")
    if path is None:
        raise EnginescopeError("py-spy is neither on the PATH nor beside this Python: pip install py-spy")
    return path


class PySpy:
    """A `py-spy record` of a process and all below it, from its first sample on.

    `EnginescopeError` says why there is none; nothing of it is left then, its log neither.
    """

    def __init__(self, root: int, options: Sequence[str], log: Path) -> None:
        self.root, self.log = root, log
        path = py_spy()  # where there is none, there is no log yet
        with log.open("wb") as out:  # in a session of its own: a terminal's Ctrl-C is the command's
            self.process = subprocess.Popen(
                [path, "record", "--pid", str(root), "--subprocesses", *options],
                env={name: value for name, value in os.environ.items() if not is_secret(name, value)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        try:
            self._await_first_sample()
        except BaseException:
            self.kill()
            raise

    def _await_first_sample(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while "Sampling process" not in self._words():
            if not self.running or time.monotonic() > deadline:
                self.kill()
                words = self._words()
                self.log.unlink()
                raise EnginescopeError(refusal(self._reason(words), self.root))
            time.sleep(0.02)

    def _words(self) -> str:
        return self.log.read_text(errors="replace")

    def _reason(self, words: str) -> str:
        """Over a tree py-spy says only that it found no Python; asked about the one process it says why."""
        if NO_PYTHON not in words:
            return words
        command = [str(py_spy()), "dump", "--pid", str(self.root)]
        return subprocess.run(command, capture_output=True, text=True, timeout=START_TIMEOUT_S).stderr

    @property
    def running(self) -> bool:
        """Whether it still samples: it ends with what it samples."""
        return self.process.poll() is None

    def stop(self, limit_s: float) -> int:
        """Let it write what it has, but no longer than this; its exit code."""
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return self.kill()
        except BaseException:
            self.kill()
            raise

    def kill(self) -> int:
        """End it at once: in its own session it would go on after us. Its exit code."""
        self.process.kill()
        return self.process.wait()


def refusal(log: str, pid: int) -> str:
    """One line for what py-spy printed when it did not start."""
    for words, remedy in REMEDIES:
        if words in log.lower():
            return f"py-spy could not sample process {pid}: {remedy}"
    first = next((line for line in log.splitlines() if line.strip()), "it printed nothing")
    return f"py-spy could not sample process {pid}: {first}; try: py-spy dump --pid {pid}"
