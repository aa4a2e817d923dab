"""Starts a command that is handed over through an inherited file descriptor, with the variables that are secrets.

A watcher that stores the command line and the environment it is started with, as nsys does, then stores neither.
"""

from __future__ import annotations

import json
import os
import signal
import sys


def hand_over(command: list[str], variables: dict[str, str]) -> tuple[list[str], int]:
    """The words that start `command` with `variables` in its environment, and the descriptor they have to inherit."""
    descriptor = os.memfd_create("command")  # in memory: on no disk, and of any length, unlike a pipe
    os.set_inheritable(descriptor, True)
    with os.fdopen(descriptor, "w", closefd=False) as file:
        json.dump({"command": command, "variables": variables}, file)
    os.lseek(descriptor, 0, os.SEEK_SET)
    # By its path, for `-I` finds no package of this checkout; and it is no command of its own.
    start = f"import runpy; runpy.run_path({__file__!r})['main']()"
    return [sys.executable, "-I", "-c", start, str(descriptor)], descriptor


def main() -> None:
    """Become the command."""
    with os.fdopen(int(sys.argv[1])) as file:
        handed = json.load(file)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and what is ignored stays so for the command
    command = handed["command"]
    try:
        os.execvpe(command[0], command, os.environ | handed["variables"])
    except OSError as error:
        sys.exit(f"cannot run {command[0]!r}: {error.strerror}")
