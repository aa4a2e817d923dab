"""A server that was started without standby: what can be had of it all the same, and what a restart would add."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from probes.errors import EnginescopeError
from probes.metrics.endpoint import endpoint, look
from probes.metrics.exposition import Snapshot, Window
from probes.metrics.quantities import figures
from probes.metrics.table import short_line
from tracing.attach.recording import stopped_early
from tracing.pyspy.sampler import DEFAULT_RATE, Sampler, check_rate
from tracing.record.folder import discard

WITHOUT = (
    "process {pid} was not started with ENGINESCOPE=standby: py-spy samples it{metrics}. A restart with "
    "ENGINESCOPE=standby in its environment adds where the time of each request and step goes, in every process."
)


def sample(pid: int, target: str, folder: Path, seconds: float) -> None:
    """Sample the tree of a process for some seconds into a folder, and print what its server counted meanwhile."""
    with _nothing_left(folder):
        check_rate(DEFAULT_RATE)
        before = _counted(target)
        print(WITHOUT.format(pid=pid, metrics=", and its metrics are read" if before else ""), file=sys.stderr)
        sampling = Sampler(folder, pid, DEFAULT_RATE, beacon=False)
        with sampling as sampler, stopped_early(time.monotonic_ns(), seconds):
            print(f"sampling for {seconds:g} s; Ctrl-C ends it sooner", file=sys.stderr, flush=True)
            sampler.wait(seconds)
        after = _counted(target)
    if before and after:
        print(short_line(figures(Window(before, after))))


@contextlib.contextmanager
def _nothing_left(folder: Path) -> Iterator[None]:
    """Of what could not be sampled there is no folder."""
    try:
        yield
    except (EnginescopeError, KeyboardInterrupt):
        discard(folder)
        raise


def _counted(target: str) -> Snapshot | None:
    """What the server has counted so far; None where only a process was named, or it does not say."""
    if not target.isdecimal():
        with contextlib.suppress(EnginescopeError):
            return look(endpoint(target))
    return None
