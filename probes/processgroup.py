"""Process groups: who is in one, and their end, whole."""

from __future__ import annotations

import os
import time
from contextlib import suppress

import psutil

KILL_LIMIT_S = 30.0
TRACKER_GRACE_S = 3.0


def members(group: int) -> list[psutil.Process]:
    """The processes of a group that run; one that only waits to be reaped does not count."""
    found = []
    for process in psutil.process_iter(["status"]):
        with suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def end_group(group: int) -> None:
    """Kill every process of a group, and wait until they are gone.

    Python's resource trackers go last and by themselves: with all others gone they unlink the shared memory of those,
    which a kill at once would leave in the machine for good.
    """
    began = time.monotonic()
    while time.monotonic() < began + KILL_LIMIT_S and (alive := members(group)):
        trackers_too = time.monotonic() > began + TRACKER_GRACE_S
        for process in alive:
            with suppress(psutil.Error):
                if trackers_too or "resource_tracker" not in " ".join(process.cmdline()):
                    process.kill()
        time.sleep(0.05)
