"""Makes the standing folder of an engine, in its first process; those that it starts find it in their environment."""

from __future__ import annotations

import mmap
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ..events.delays import FILE as DELAYS
from ..events.delays import NOTHING
from ..events.standing import PAUSED, RECORDING, STANDBY_BYTES, SWITCH, SWITCH_BYTES, Standing, ring_bytes, rooms

STDERR = 2  # the program's own output stays its own
MANY = 16  # rings of an engine, each with its texts, and as much again that stays free
MOST_ENDED = 2  # folders of ended engines that are left: a supervisor may restart a killed one before anybody looks


def make(ring: str | None) -> Path:
    """Make a folder that only this user can read; standby without a `ring`, ValueError where that is no size.

    OSError where the folder cannot be made, or another user has made it.
    """
    size = ring_bytes(ring) if ring else STANDBY_BYTES
    room = _room(size)
    room.mkdir(mode=0o700, exist_ok=True)
    if room.stat().st_uid != os.getuid() or room.is_symlink():
        raise PermissionError(f"{room} belongs to another user")
    _forget_ended(room)
    folder = room / f"{os.getpid()}-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o700)
    switch = SWITCH_BYTES.pack(RECORDING if ring else PAUSED, 0)
    (folder / SWITCH).write_bytes(switch)
    (folder / DELAYS).write_bytes(NOTHING)
    Standing(size, ring is None, os.getpid(), program()).write(folder)
    return folder


def _room(size: int) -> Path:
    """In memory only where the rings of many processes leave it half empty: vLLM's own queues are there as well.

    A container has 64 MiB there by default, or nothing.
    """
    in_memory, on_disk = rooms()
    try:
        state = os.statvfs(in_memory.parent)
    except OSError:
        return on_disk
    free_bytes = state.f_bavail * state.f_frsize
    return in_memory if free_bytes > MANY * size and os.access(in_memory.parent, os.W_OK) else on_disk


def start_keeper(conditions: Sequence[str], folder: str | None) -> subprocess.Popen[bytes]:
    """Start `tracing.attach --keep` on this process, in a session of its own: a terminal's Ctrl-C does not reach it.

    OSError where it cannot be started; what is wrong with a condition it says itself.
    """
    command = [sys.executable, "-P", "-m", "tracing.attach", str(os.getpid()), *(["--out", folder] if folder else [])]
    command += [f"--keep={text.strip()}" for text in conditions if text.strip()]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=STDERR, start_new_session=True)


def program() -> str:
    """This process's program and its subcommand: what else stands on the command line may be a key."""
    return " ".join([*sys.argv[:1], *filter(str.isalpha, sys.argv[1:2])]) or sys.executable


def _forget_ended(room: Path) -> None:
    """Remove the folders of engines of which no process lives, but for the newest of them."""
    ended = sorted((path for path in room.iterdir() if not _lives(path)), key=lambda path: path.stat().st_mtime)
    for path in ended[: len(ended) - MOST_ENDED]:
        shutil.rmtree(path, ignore_errors=True)


def _lives(folder: Path) -> bool:
    pids = {path.stem.partition("-")[2] for path in folder.glob("process-*.json")} | {folder.name.partition("-")[0]}
    return any(Path("/proc", pid).exists() for pid in pids)


class Lease:
    """The switch as a process of the engine sees it: one who turned it on and died does not leave it on for good."""

    def __init__(self, folder: Path) -> None:
        with (folder / SWITCH).open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), SWITCH_BYTES.size)

    def check(self) -> None:
        """Turn recording off where its time is over."""
        state, until_ns = SWITCH_BYTES.unpack(self._map)
        if state == RECORDING and until_ns and time.monotonic_ns() > until_ns:
            self._map[0] = PAUSED
