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
from probes.programs import OWN_PYTHON
from tracing.attach.window import LastSeconds, length_s
from tracing.top.timeuse import TimeUse, time_use

FIRST_S, SHORTEST_S, WINDOW_S = 1.0, 0.2, 5.0  # of the engine's time, of which it is worked out
AFFORDED_S = 0.2  # of a processor each time: of an engine that writes much a shorter time is taken
PAUSES = 50  # times what it took of a processor, before it is done again
LAST = 19  # the lowest priority
ENTRY = "from tracing.top.useprocess import answer; answer()"
NOTHING = TimeUse({}, {}, {}, {}, None, None)


class UseProcess:
    """Works out now and then what an engine's time goes into; use it as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._use = NOTHING  # until something is known
        self._dialogue = Dialogue()
        fds = self._dialogue.fds
        words = [*OWN_PYTHON, "-c", ENTRY, *map(str, fds), str(folder)]
        # In a process group of its own, since Ctrl-C is for us, and we end it. What fails there is an answer.
        self._child = subprocess.Popen(words, pass_fds=fds, process_group=0, stderr=subprocess.DEVNULL)
        self._dialogue.close_far_ends()
        self._dialogue.send({})

    def __enter__(self) -> UseProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._dialogue.close()
        self._child.kill()  # it has nothing to end, and may not get a processor for long
        self._child.wait()

    def latest(self) -> TimeUse:
        """What is known by now, without waiting; `EnginescopeError` where the process failed."""
        if (reply := self._reply()) is not None:
            self._use = TimeUse(**reply)
            self._dialogue.send({})
        return self._use

    def _reply(self) -> Message | None:
        try:
            reply = self._dialogue.receive(0)
        except EOFError:
            self._child.kill()  # if it has not ended yet
            raise EnginescopeError(
                f"the process that works out what the time goes into died (exit code {self._child.wait()})"
            ) from None
        if reply and "error" in reply:
            raise EnginescopeError(f"what the time goes into could not be worked out: {reply['error']}")
        return reply


def answer() -> None:
    """In that process: what some seconds of the engine went into, for each command."""
    os.nice(LAST)  # only now: the libraries are there
    answer_commands(PacedUse(Path(sys.argv[3])).answer)


class PacedUse:
    """Works it out, of as long a time as it can afford, and the longer it took of a processor the later again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seconds, self.took_s = FIRST_S, 0.0

    def answer(self, _: Message) -> Message:
        """What the time of the next seconds goes into; nothing where nothing is recorded."""
        time.sleep(PAUSES * self.took_s)
        begun_s = time.process_time()
        window = LastSeconds(self.folder, WINDOW_S)  # begins now: what was written meanwhile is not read
        time.sleep(self.seconds)
        window.look()
        files = window.files()
        use = time_use(files, length_s(window.looks)) if files else NOTHING
        self.took_s = time.process_time() - begun_s
        self.seconds = min(max(SHORTEST_S, AFFORDED_S * self.seconds / self.took_s), WINDOW_S)
        return asdict(use)
