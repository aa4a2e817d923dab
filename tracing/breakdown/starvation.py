"""The machine as a cause: how long the engine's threads were kept from running while there was traffic.

A thread that could run and did not stood in the kernel's run queue: other work had the core, or the control group had
used up its quota. That (throttling) and the hypervisor (steal) are known for all threads together only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from probes.columns import column
from tracing.breakdown.requests.piece import by_cause
from tracing.events.contention import STEAL, THREAD, THROTTLED
from tracing.events.tracefile import read_trace
from tracing.timeline import contention
from tracing.timeline.contention import Contention
from tracing.timeline.index import Index
from tracing.timeline.intervals import Ints, Pieces
from tracing.timeline.spans import Timeline

TELLING = 0.05  # of the time with traffic, from which a warning names it


@dataclass(frozen=True)
class QueuedThread:
    """A row of `starvation.threads`: a thread that served requests."""

    role: str = field(metadata=column("the role whose spans it has most of"))
    pid: int = field(metadata=column("its process"))
    thread: int = field(metadata=column("the operating system's number"))
    queued_ns: int = field(metadata=column("in the run queue while there was traffic", "ns"))
    share: float = field(metadata=column("of the time with traffic", "1"))


@dataclass(frozen=True)
class Starvation:
    """`starvation`: how long the machine kept the engine's threads from running while there was traffic."""

    threads: tuple[QueuedThread, ...] = field(metadata=column("in the run queue, the longest first"))
    throttled_share: float = field(
        metadata=column("of the time with traffic, the control group over its quota on any core: at most", "1")
    )
    steal_share: float = field(metadata=column("of all cores' time with traffic, taken by the hypervisor", "1"))

    def warnings(self) -> list[str]:
        """A line for each cause that cost more than a twentieth of the time with traffic."""
        lines = []
        over_quota = self.throttled_share > TELLING
        if over_quota:
            lines.append(
                f"the control group's CPU quota stopped threads for up to {self.throttled_share:.0%} of the time with "
                "traffic"
            )
        why = "the quota, or other work was on its core" if over_quota else "other work was on its core"
        lines += [
            f"the thread of the {each.role} (pid {each.pid}) was in the run queue for {each.share:.0%} of the time "
            f"with traffic: {why}"
            for each in self.threads
            if each.share > TELLING
        ]
        if self.steal_share > TELLING:
            lines.append(f"the hypervisor took {self.steal_share:.0%} of the cores' time with traffic (steal)")
        return lines


@dataclass(frozen=True)
class MachineSamples:
    """The samples of a trace, asked for what kept threads from running while nothing was recorded of them."""

    samples: Contention
    roles: dict[tuple[int, int], str]  # of each thread, by (pid, thread); of none where nothing was sampled
    cores: int  # of the machine, whichever the engine may use: steal is known of all together

    def inside(self, pieces: Pieces, processes: set[int]) -> dict[str, int]:
        """Nanoseconds of some pieces of time by cause, for some cores and workers: estimates, no more than these."""
        kept = by_cause(self.samples.kept(self.threads(processes), *pieces, self.cores))
        return {name: int(ns.sum()) for name, ns in kept.items()}

    def stolen(self, start: Ints, end: Ints) -> np.ndarray:
        """Nanoseconds of each interval that the hypervisor took of a core on the mean."""
        return self.samples.stolen(start, end, self.cores)

    def threads(self, processes: set[int]) -> list[tuple[int, int]]:
        """The main threads of some cores and workers."""
        return [who for who, role in self.roles.items() if role in ("core", "worker") and who[0] in processes]


def machine_samples(index: Index) -> MachineSamples:
    """The samples beside a timeline, without what threads waited."""
    folder, spans = index.timeline.folder, index.timeline.spans
    samples, trace = contention.read(folder).beyond_waits(spans, index.cores), read_trace(folder)
    roles = index.main_threads if samples.is_known else {}
    return MachineSamples(samples, roles, trace.machine.cores_logical if trace else 1)


def starvation(timeline: Timeline, machine: MachineSamples) -> Starvation | None:
    """What the samples say of the time with traffic; None where there are none."""
    window, samples = traffic(timeline), machine.samples
    if window is None or not samples.is_known:
        return None
    start, end = (np.array([bound]) for bound in window)
    length = max(window[1] - window[0], 1)
    shares = {source: float(samples.between(source, start, end)[0]) / length for source in (THROTTLED, STEAL)}
    threads = tuple(sorted(_threads(machine, window), key=lambda each: -each.share))
    return Starvation(threads, shares[THROTTLED], shares[STEAL] / machine.cores)


def traffic(timeline: Timeline) -> tuple[int, int] | None:
    """From the start of the first step to the end of the last, in nanoseconds; None without a step."""
    steps = timeline.spans[timeline.spans["site"].isin(("scheduler.schedule", "scheduler.update"))]
    return (int(steps["start_ns"].min()), int(steps["end_ns"].max())) if len(steps) else None


def _threads(machine: MachineSamples, window: tuple[int, int]) -> Iterator[QueuedThread]:
    start, end = (np.array([bound]) for bound in window)
    for (pid, thread), role in machine.roles.items():
        if (THREAD, pid, thread) in machine.samples.series:
            queued = float(machine.samples.between(THREAD, start, end, pid, thread)[0])
            yield QueuedThread(role, pid, thread, round(queued), queued / max(window[1] - window[0], 1))


def queued_in_steps(machine: MachineSamples, steps: pd.DataFrame, cores: dict[int, int]) -> np.ndarray:
    """Nanoseconds that the threads of each step's core and workers stood in the run queue meanwhile, the worst one's.

    `cores` has the core's process of each process. An estimate for steps shorter than samples are apart.
    """
    start, end = steps["start_ns"].to_numpy(), steps["end_ns"].to_numpy()
    worst = np.zeros(len(steps), dtype=np.int64)
    for core in np.unique(steps["pid"]).tolist():
        threads = machine.threads({pid for pid, owner in cores.items() if owner == core})
        mine = (steps["pid"] == core).to_numpy()
        worst[mine] = machine.samples.queued(threads, start[mine], end[mine])
    return worst
