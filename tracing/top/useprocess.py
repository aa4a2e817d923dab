"""A process of its own for what an engine's time goes into: that takes long, and what is shown must not wait for it.

A thread would not do: one of low priority keeps Python's lock while it waits for a processor, and all others with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from probes.errors import EnginescopeError
from probes.processes.dialogue import Dialogue, Message, answer_commands
from tracing.attach.window import LastSeconds, length_s
from tracing.top.timeuse import TimeUse, time_use

FIRST_S, WINDOW_S = 1.0, 5.0
PAUSES = 50  # times the processor time that it took, before it is done again
LAST = 19  # the lowest priority
STOP_S = 5.0
ENTRY = "from tracing.top.useprocess import answer; answer()"
NOTHING = TimeUse({}, {}, {}, {}, None, None)


class UseProcess:
    """Works out now and then what an engine's time goes into; use it as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._use = NOTHING  # until something is known
        self._dialogue = Dialogue()
        fds = self._dialogue.fds
        words = [sys.executable, "-c", ENTRY, *map(str, fds), str(folder)]
        # In a process group of its own, since Ctrl-C is for us, and we end it. What fails there is an answer.
        self._child = subprocess.Popen(words, pass_fds=fds, process_group=0, stderr=subprocess.DEVNULL)
        self._dialogue.close_far_ends()
        self._ask(FIRST_S)

    def __enter__(self) -> UseProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._dialogue.close()
        self._child.terminate()
        self._child.wait(STOP_S)

    def latest(self) -> TimeUse:
        """What is known by now, without waiting; `EnginescopeError` where the process failed."""
        if (reply := self._reply()) is not None:
            self._use = TimeUse(**reply)
            self._ask(WINDOW_S)
        return self._use

    def _ask(self, seconds: float) -> None:
        self._dialogue.send({"seconds": seconds})

    def _reply(self) -> Message | None:
        try:
            reply = self._dialogue.receive(0)
        except EOFError:
            raise EnginescopeError(
                f"the process that works out what the time goes into died (exit code {self._child.wait(STOP_S)})"
            ) from None
        if reply and "error" in reply:
            raise EnginescopeError(f"what the time goes into could not be worked out: {reply['error']}")
        return reply


def answer() -> None:
    """In that process: what some seconds of the engine went into, for each command."""
    os.nice(LAST)  # only now: the libraries are there
    answer_commands(PacedUse(LastSeconds(Path(sys.argv[3]), WINDOW_S)).answer)


class PacedUse:
    """Works it out, and the longer it took of a processor the later again."""

    def __init__(self, window: LastSeconds) -> None:
        self.window = window
        self.took_s = 0.0

    def answer(self, command: Message) -> Message:
        """What the time of the next `seconds` goes into; nothing where nothing is recorded."""
        time.sleep(PAUSES * self.took_s)
        begun_s = time.process_time()
        self.window.look()  # what came until now is not asked for
        time.sleep(command["seconds"])
        self.window.look()
        looks = list(self.window.looks)[-1:]
        files = self.window.files(looks)
        use = time_use(files, length_s(looks)) if files else NOTHING
        self.took_s = time.process_time() - begun_s
        return asdict(use)
