"""Process groups: who is in one, and their end, whole."""

from __future__ import annotations

import os
import time
from contextlib import suppress

import psutil

KILL_LIMIT_S = 30.0
TRACKER_GRACE_S = 3.0
GONE = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)  # it only waits to be reaped


def members(*groups: int) -> list[psutil.Process]:
    """The processes of some groups that run, stopped ones among them."""
    running = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getpgid(process.pid) in groups and process.status() not in GONE:
                running.append(process)
    return running


def lives(process: psutil.Process) -> bool:
    """Whether it is that process still, and not one that only waits to be reaped."""
    try:
        return process.is_running() and process.status() not in GONE
    except psutil.Error:
        return False


def end_group(*groups: int) -> None:
    """Kill every process of some groups but the caller, and wait until they are gone.

    Python's resource trackers go last and by themselves: with all others gone they unlink the shared memory of those
    (250 MB an engine), which a kill at once would leave in the machine for good. A stopped one is let go on for that.
    Their time counts from the end of the others, which takes seconds where gigabytes are given back.
    """
    began = shared = time.monotonic()  # until when others than trackers lived
    while time.monotonic() < began + KILL_LIMIT_S:
        alive = [process for process in members(*groups) if process.pid != os.getpid()]
        if not alive:
            return
        trackers = [process for process in alive if _is_tracker(process)]
        if len(trackers) < len(alive):
            shared = time.monotonic()
        for process in alive:
            with suppress(psutil.Error):
                if process in trackers and time.monotonic() < shared + TRACKER_GRACE_S:
                    process.resume()
                else:
                    process.kill()
        time.sleep(0.05)


def _is_tracker(process: psutil.Process) -> bool:
    try:
        return "resource_tracker" in " ".join(process.cmdline())
    except psutil.Error:
        return False
