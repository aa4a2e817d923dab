"""Commands and answers between two processes: a line of JSON each, over two pipes."""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import traceback
from collections.abc import Callable
from typing import Any

# What a command asks and its answer holds is between its two sides: each reads what comes into a record of its own.
Message = dict[str, Any]
CHUNK_BYTES = 1 << 20


class Dialogue:
    """The asking side. The other end reads commands from `fds[0]` and writes answers to `fds[1]`."""

    def __init__(self) -> None:
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        self.fds = (commands, answers)
        self._unread = b""

    def close_far_ends(self) -> None:
        """To be called once the other process has them: its death then ends the file of answers."""
        for fd in self.fds:
            os.close(fd)

    def send(self, command: Message) -> None:
        """Send a command; that the other side is gone shows when its answer is read."""
        with contextlib.suppress(OSError):
            os.write(self._commands, (json.dumps(command) + "\n").encode())

    def receive(self, wait_s: float) -> Message | None:
        """The next answer, None where there is none within `wait_s`; EOFError where the other side is gone."""
        while b"\n" not in self._unread:
            if not select.select([self._answers], [], [], max(wait_s, 0))[0]:
                return None
            chunk = os.read(self._answers, CHUNK_BYTES)
            if not chunk:
                raise EOFError
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        answer: Message = json.loads(line)
        return answer

    def hang_up(self) -> None:
        """End the commands: the other side finishes."""
        commands, self._commands = self._commands, -1  # first, since Ctrl-C may come before `close` has returned
        if commands >= 0:
            os.close(commands)

    def close(self) -> None:
        """Close both pipes."""
        self.hang_up()
        answers, self._answers = self._answers, -1
        if answers >= 0:
            os.close(answers)


def answer_commands(answer: Callable[[Message], Message]) -> None:
    """The answering side, its pipes named in `sys.argv`, until they end or a command fails, which is an answer too."""
    with os.fdopen(int(sys.argv[1])) as commands, os.fdopen(int(sys.argv[2]), "w") as answers:
        for line in commands:
            try:
                reply = answer(json.loads(line))
            except Exception as error:
                with contextlib.suppress(OSError):  # a full disk, which the reply says
                    traceback.print_exc()
                reply = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}
            answers.write(json.dumps(reply) + "\n")
            answers.flush()
            if "error" in reply:
                break
