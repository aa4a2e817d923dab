"""A CPU quota on purpose: the engine's processes have a control group of their own, limited while there is traffic.

The kernel counts for how long it stopped them, and that is written down: what happened to the engine, for sure.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from enginescope_plugin import TRACE
from probes.errors import EnginescopeError

GROUPS = Path("/sys/fs/cgroup/cpu")  # of version 1: one of version 2 can have no groups beside the processes in it
PROCESSES, LIMIT, PERIOD_US = "cgroup.procs", "cpu.cfs_quota_us", 100_000
NONE = "-1"
FILE = "quota.json"  # beside the trace: cores, begin_ns and end_ns of CLOCK_MONOTONIC, throttled_ns


@contextlib.contextmanager
def own_group() -> Iterator[None]:
    """While the block runs this process has a control group, in which those that it starts are too."""
    group, before = group_of(os.getpid()), present_group()
    try:
        group.mkdir(exist_ok=True)  # a killed process of the same number may have left it
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (group / LIMIT).write_text(NONE)
        (group / PROCESSES).write_text(str(os.getpid()))
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        raise EnginescopeError(
            f"no quota can be set here: {group} cannot be made ({error.strerror}); it needs control groups of "
            "version 1 and the right to make one"
        ) from None
    try:
        yield
    finally:
        for pid in (group / PROCESSES).read_text().split():  # Python's resource tracker lives as long as this process
            with contextlib.suppress(OSError):
                (before / PROCESSES).write_text(pid)
        with contextlib.suppress(OSError):  # an engine's process that is ending holds it
            group.rmdir()


@contextlib.contextmanager
def limit(cores: float) -> Iterator[None]:
    """While the block runs this process's own group may use so many cores."""
    group = group_of(os.getpid())
    begin, before = time.monotonic_ns(), throttled_ns(group)
    (group / LIMIT).write_text(str(round(cores * PERIOD_US)))
    try:
        yield
    finally:
        (group / LIMIT).write_text(NONE)
        truth = {"cores": cores, "begin_ns": begin, "end_ns": time.monotonic_ns()}
        truth["throttled_ns"] = throttled_ns(group) - before
        if TRACE in os.environ:
            Path(os.environ[TRACE], FILE).write_text(json.dumps(truth))


def group_of(pid: int) -> Path:
    """The control group that a process has for itself and those that it starts."""
    return GROUPS / f"enginescope-shape-{pid}"


def present_group() -> Path:
    """The control group that this process is in."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpu" in controllers.split(","):
            return GROUPS / path.lstrip("/")
    return GROUPS


def throttled_ns(group: Path) -> int:
    """For how long the kernel has stopped the threads of a group, all cores together."""
    counts = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    return int(counts["throttled_time"])
