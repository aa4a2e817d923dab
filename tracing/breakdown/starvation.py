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
from tracing.events.contention import STEAL, THREAD, THROTTLED
from tracing.timeline.contention import Contention, main_roles
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
        why = "the quota, or other work had its core" if over_quota else "other work had its core"
        lines += [
            f"the thread of the {each.role} (pid {each.pid}) stood in the run queue for {each.share:.0%} of the time "
            f"with traffic: {why}"
            for each in self.threads
            if each.share > TELLING
        ]
        if self.steal_share > TELLING:
            lines.append(f"the hypervisor took {self.steal_share:.0%} of the cores' time with traffic (steal)")
        return lines


def starvation(timeline: Timeline, samples: Contention, cores: int) -> Starvation | None:
    """What the samples say of the time with traffic; None where there are none."""
    window = traffic(timeline)
    if window is None or not samples.is_known:
        return None
    start, end = (np.array([bound]) for bound in window)
    length = max(window[1] - window[0], 1)
    shares = {source: float(samples.between(source, start, end)[0]) / length for source in (THROTTLED, STEAL)}
    threads = tuple(sorted(_threads(timeline, samples, window), key=lambda each: -each.share))
    return Starvation(threads, shares[THROTTLED], shares[STEAL] / max(cores, 1))


def traffic(timeline: Timeline) -> tuple[int, int] | None:
    """From the start of the first step to the end of the last, in nanoseconds; None without a step."""
    steps = timeline.spans[timeline.spans["site"].isin(("scheduler.schedule", "scheduler.update"))]
    return (int(steps["start_ns"].min()), int(steps["end_ns"].max())) if len(steps) else None


def _threads(timeline: Timeline, samples: Contention, window: tuple[int, int]) -> Iterator[QueuedThread]:
    start, end = (np.array([bound]) for bound in window)
    for (pid, thread), role in main_roles(timeline.spans).items():
        if (THREAD, pid, thread) in samples.series:
            queued = float(samples.between(THREAD, start, end, pid, thread)[0])
            yield QueuedThread(role, pid, thread, round(queued), queued / max(window[1] - window[0], 1))


def queued_in_steps(timeline: Timeline, samples: Contention, steps: pd.DataFrame, cores: dict[int, int]) -> np.ndarray:
    """Nanoseconds that the threads of each step's core and workers stood in the run queue meanwhile, the worst one's.

    `cores` has the core's process of each process. An estimate for steps shorter than samples are apart.
    """
    start, end = steps["start_ns"].to_numpy(), steps["end_ns"].to_numpy()
    worst = np.zeros(len(steps), dtype=np.int64)
    roles = main_roles(timeline.spans)
    for core in np.unique(steps["pid"]).tolist():
        threads = [who for who, role in roles.items() if role in ("core", "worker") and cores.get(who[0], -1) == core]
        mine = (steps["pid"] == core).to_numpy()
        worst[mine] = samples.queued(threads, start[mine], end[mine])
    return worst
