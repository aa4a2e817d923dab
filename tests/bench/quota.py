"""A CPU quota under a real engine: what the review says of it, beside what the kernel counted meanwhile.

The demonstration in shape `cpu` is recorded twice, without a quota and with one: its processes, but not the recorder's,
are put into a control group of version 1 that may use so many cores, for which this has to be root's.

example: python -m tests.bench.quota --cores 0.5
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from probes.processes.sidethread import beside
from tracing.breakdown import starvation
from tracing.breakdown.findings import findings

GROUPS = Path("/sys/fs/cgroup/cpu")
PERIOD_US, LOOK_S = 100_000, 0.01
INSIDE = ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"']
DEMONSTRATION = [sys.executable, "-m", "tracing.demo", "--shape", "cpu"]
Look = tuple[int, int]  # ns of CLOCK_MONOTONIC, periods so far in which the quota stopped threads


@contextlib.contextmanager
def group_of(cores: float) -> Iterator[Path]:
    """A control group that may use so many cores; 0: any number."""
    group = GROUPS / f"enginescope-{os.getpid()}"
    group.mkdir()
    try:
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(round(cores * PERIOD_US) or -1))
        yield group
    finally:
        group.rmdir()


def look(group: Path, looks: list[Look], ended: threading.Event) -> None:
    """Look at the kernel's count of the group until that is over."""
    while not ended.wait(LOOK_S):
        counts = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
        looks.append((time.monotonic_ns(), int(counts["nr_throttled"])))


def record(folder: Path, cores: float) -> list[Look]:
    """Record the demonstration under a quota; the kernel's counts meanwhile."""
    looks: list[Look] = []
    with group_of(cores) as group, beside(partial(look, group, looks), "quota"):
        watcher = [sys.executable, "-m", "tracing.record", "--partial", "--out", str(folder), "--"]
        with folder.with_suffix(".log").open("w") as log:
            subprocess.run([*watcher, *INSIDE, str(group), *DEMONSTRATION], stdout=log, stderr=log, check=True)
    return looks


def lines(folder: Path, looks: list[Look]) -> Iterator[str]:
    """What the kernel counted while there was traffic, and what the review says."""
    recorded = findings(folder)
    window = starvation.traffic(recorded.timeline)
    assert window is not None
    begin, end = window
    inside = [count for at, count in looks if begin <= at <= end]
    periods = f"{inside[-1] - inside[0]} of {(end - begin) / 1e3 / PERIOD_US:.0f} periods"
    yield f"{len(recorded.steps)} steps in {(end - begin) / 1e9:.2f} s; the kernel stopped threads in {periods}"
    yield from recorded.review.starvation.warnings() if recorded.review.starvation else ["not sampled"]
    slow = [step.reason for step in recorded.review.slow_steps]
    yield f"{sum('quota' in reason for reason in slow)} of the {len(slow)} slowest steps name the quota"
    yield from slow[:2]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--cores", type=float, default=0.5, help="that the engine may use (default %(default)g)")
    cores = arguments.parse_args().cores
    with tempfile.TemporaryDirectory() as scratch:
        for name, quota in (("no quota", 0.0), (f"{cores:g} cores", cores)):
            folder = Path(scratch, name.replace(" ", "-"))
            for line in lines(folder, record(folder, quota)):
                print(f"{name}: {line}", flush=True)


if __name__ == "__main__":
    main()
