"""The layout of the samples of what kept the engine's threads from running.

`contention.csv` has a row for each total that grew.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from probes.columns import column, dictionary

FILE = "contention.csv"
ABOUT = f"{FILE}: what kept the engine's threads from running"
# Sources: a thread in the run queue; the control group over its CPU quota; the hypervisor, over all cores; a process
# that a signal had stopped, to within the time between two samples.
THREAD, THROTTLED, STEAL, STOPPED = "run queue", "throttled", "steal", "stopped"


@dataclass(frozen=True)
class ContentionSample:
    """A row of `contention.csv`: a total that had grown since the sample before."""

    time_ns: int = field(metadata=column("when the sample was taken", "ns of CLOCK_MONOTONIC"))
    source: str = field(metadata=column(f"what kept threads from running: {THREAD}, {THROTTLED}, {STEAL}, {STOPPED}"))
    pid: int = field(metadata=column("the process; 0: all of the machine"))
    thread: int = field(metadata=column("the thread; 0: all of the process, or of the machine"))
    total_ns: int = field(
        metadata=column("how long it did, since that thread, process, control group or machine began", "ns")
    )


COLUMNS = tuple(each.name for each in dictionary(ContentionSample))
