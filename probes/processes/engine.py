"""An engine of ours in a process of its own: asked one thing at a time, frozen, thawed, and ended whole."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from probes.errors import EnginescopeError
from probes.processes.child import ChildProcess
from probes.processes.dialogue import Dialogue, Message
from probes.processes.group import lives
from probes.processes.log import first_reason, refuses
from probes.programs import OWN_PYTHON

STOP_GRACE_S = 30.0
WATCH_S = 1.0  # how often it is looked whether the engine still lives
LAST_WORDS_S = 15.0  # how long a process may take to say that its engine died
TITLE = "VLLM::"  # what vLLM's core and workers call themselves
ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "VLLM_LOGGING_COLOR": "0",
    "TQDM_DISABLE": "1",
    "PYTHONUNBUFFERED": "1",
}


class EngineFailed(EnginescopeError):
    """The engine cannot go on; `refused` where it declined its configuration. The message has its own words."""

    def __init__(self, reason: str, refused: bool = False) -> None:
        super().__init__(reason)
        self.refused = refused


class EngineProcess:
    """One engine's processes; use it as a context manager, so that nothing of it outlives the block.

    `entry` is the Python statement that serves commands (see `answer_commands`), `python` what runs it, by default our
    own, and `around` the words of a program that runs that.
    """

    def __init__(
        self,
        entry: str,
        log: Path,
        environment: Mapping[str, str],
        around: Sequence[str] = (),
        scratch: Path | None = None,
        python: Sequence[str] = OWN_PYTHON,
    ) -> None:
        self._dialogue = Dialogue()
        self._engine: list[psutil.Process] | None = None  # the core and its workers, from the first answer on
        fds = self._dialogue.fds
        words = [*around, *python, "-c", entry, *map(str, fds)]
        try:
            self.child = ChildProcess(words, log, {**os.environ, **ENVIRONMENT, **environment}, fds, scratch)
        finally:
            self._dialogue.close_far_ends()
        self.freeze, self.thaw = self.child.freeze, self.child.thaw

    def __enter__(self) -> EngineProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def ask(self, command: Message, limit_s: float) -> Message:
        """Send one command and wait for its answer."""
        self.send(command)
        return self.receive(limit_s)

    def send(self, command: Message) -> None:
        """Send one command."""
        self._dialogue.send(command)

    def receive(self, limit_s: float) -> Message:
        """Wait for the answer; raises `EngineFailed` on an error, a death or the time limit."""
        try:
            answer = self._await(time.monotonic() + limit_s)
        except EOFError:
            raise self._death() from None
        if answer is None and self._lost():
            raise EngineFailed(f"a process of the engine died: {self._reason()}")
        if answer is None:
            raise EngineFailed(f"no answer within {limit_s:.0f} s; killed")
        if "error" in answer:
            reason = first_reason(self.child.logged()) or answer["error"]
            raise EngineFailed(reason, refused=refuses(reason))
        if self._engine is None:
            self.child.find_groups()
            self._engine = [process for process in self.child.members() if _is_titled(process)]
        return answer

    def hang_up(self) -> None:
        """Have it shut its engine down, without waiting for that."""
        self._dialogue.hang_up()

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Have it shut its engine down, wait a while, and make sure that nothing is left."""
        self.hang_up()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.child.process.wait(grace_s)
        self.kill()

    def kill(self) -> None:
        """Kill all of its processes and wait until they are gone."""
        self.child.end()
        self._dialogue.close()

    def _await(self, deadline: float) -> Message | None:
        """The answer, or None at the deadline.

        `generate` of vLLM 0.32 may wait for ever for a core that was killed: such an engine has some seconds to say so.
        """
        while (wait_s := deadline - time.monotonic()) > 0:
            if self._engine is None:  # later it has its groups, and a look at all processes would disturb a trial
                self.child.find_groups()
            answer = self._dialogue.receive(min(wait_s, WATCH_S))
            if answer is not None:
                return answer
            if self._lost():
                deadline = min(deadline, time.monotonic() + LAST_WORDS_S)
        return None

    def _lost(self) -> bool:
        """Whether a process of the engine is gone."""
        return any(not lives(process) for process in self._engine or ())

    def _death(self) -> EngineFailed:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.child.process.wait(5)
        return EngineFailed(f"the engine's process died (exit code {self.child.process.returncode}): {self._reason()}")

    def _reason(self) -> str:
        return first_reason(self.child.logged()) or "see its log"


def _is_titled(process: psutil.Process) -> bool:
    """Whether it is one of vLLM's own processes."""
    try:
        return any(word.startswith(TITLE) for word in process.cmdline()[:1])
    except psutil.Error:
        return False
