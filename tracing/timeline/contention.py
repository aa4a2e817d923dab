"""The samples of what kept the engine's threads from running, read as differences of totals that only grow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from tracing.events.contention import FILE, STEAL, THREAD, THROTTLED
from tracing.timeline.intervals import Ints, Pieces, edges, overlap, union

Series = tuple[np.ndarray, np.ndarray]  # moments, totals


class Kept(NamedTuple):
    """Nanoseconds by cause, which exclude each other: estimates."""

    run_queue: np.ndarray
    quota: np.ndarray
    stolen: np.ndarray


@dataclass(frozen=True)
class Contention:
    """All samples of a trace, by what they count; empty where none were taken."""

    moments: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    series: dict[tuple[str, int, int], Series] = field(default_factory=dict)

    @property
    def is_known(self) -> bool:
        return bool(self.series)

    def between(self, source: str, start: np.ndarray, end: np.ndarray, pid: int = 0, thread: int = 0) -> np.ndarray:
        """Nanoseconds lost to `source` in each interval, 0 where it was not sampled.

        Between two samples the loss is taken as even: an estimate for intervals shorter than those are apart.
        """
        moments, totals = self.series.get((source, pid, thread), (self.moments[:0], self.moments[:0]))
        if len(moments) < 2:
            return np.zeros(len(start))
        return np.interp(end, moments, totals) - np.interp(start, moments, totals)

    def beyond_waits(self, spans: pd.DataFrame, cores: Mapping[int, int]) -> Contention:
        """The samples without what threads stood in the run queue for while they waited: vLLM's processes wait for each
        other in a loop that yields, and stand there all the time without a loss. So what is left is a least.

        A core and its workers wait for a message until it is sent: who does not see it then was kept from running.
        `cores` has the core's process of each process.
        """
        waits, puts = spans[spans["share"] == "wait"], spans[spans["site"] == "queue.put"]
        by_thread = {
            (int(pid), int(thread)): _until_sent(union(*edges(rows)), _sent_to(int(pid), puts, cores))
            for (pid, thread), rows in waits.groupby(["pid", "thread"])
        }
        series = {
            (source, pid, thread): _beyond(each, by_thread[pid, thread])
            if source == THREAD and (pid, thread) in by_thread
            else each
            for (source, pid, thread), each in self.series.items()
        }
        return Contention(self.moments, series)

    def kept(self, threads: Iterable[tuple[int, int]], start: Ints, end: Ints, cores: int) -> Kept:
        """What kept some threads, of an engine on a machine of so many cores, from running in each interval.

        Of the time in the run queue, the worst thread's, that in which the quota stopped any is the quota's. Of the
        rest the hypervisor has what it took of a core on the mean.
        """
        queued = self.queued(threads, start, end)
        over_quota = np.minimum(queued, self.between(THROTTLED, start, end))
        stolen = np.minimum(end - start - queued, self.stolen(start, end, cores))
        return Kept(queued - over_quota, over_quota, stolen)

    def stolen(self, start: Ints, end: Ints, cores: int) -> np.ndarray:
        """Nanoseconds of each interval that the hypervisor took of a core on the mean."""
        return self.between(STEAL, start, end) / cores

    def queued(self, threads: Iterable[tuple[int, int]], start: Ints, end: Ints) -> Ints:
        """Nanoseconds of each interval in the run queue, of some threads the one that stood there longest."""
        worst = np.zeros(len(start))
        for pid, thread in threads:
            worst = np.maximum(worst, self.between(THREAD, start, end, pid, thread))
        return np.minimum(worst.astype(np.int64), end - start)


def _sent_to(pid: int, puts: pd.DataFrame, cores: Mapping[int, int]) -> Ints:
    """When messages were put into the queues between a core and its workers for this process: by the other side."""
    core = cores.get(pid, -1)
    others = puts["pid"] == core if pid != core else (puts["pid"] != core) & (puts["pid"].map(cores) == core)
    return np.sort(puts["start_ns"][others].to_numpy(dtype=np.int64))


def _until_sent(waits: Pieces, sent: Ints) -> Pieces:
    """Waits, each until the last message that was sent in it."""
    start, end = waits
    last = np.concatenate(([np.iinfo(np.int64).min], sent))[np.searchsorted(sent, end)]
    return start, np.where(last > start, last, end)


def _beyond(series: Series, waits: Pieces) -> Series:
    """The total of a thread, of each two samples without the time that the thread waited between them."""
    moments, totals = series
    waited = overlap(waits, moments[:-1], moments[1:])
    return moments, np.concatenate(([0], np.cumsum(np.maximum(np.diff(totals) - waited, 0))))


def main_roles(spans: pd.DataFrame) -> dict[tuple[int, int], str]:
    """The role of each thread with spans, by (pid, thread): where it has several, that of most of its spans."""
    counts = spans.groupby(["pid", "thread", "role"], observed=True).size()
    best = counts.groupby(level=[0, 1]).idxmax()
    return {(int(pid), int(thread)): str(role) for pid, thread, role in best}


def read(folder: Path) -> Contention:
    """The samples of a trace folder; a last line that was cut is left out. Empty where the disk had no room for any."""
    path = folder / FILE
    if not path.exists() or not path.stat().st_size:
        return Contention()
    rows = pd.read_csv(path, on_bad_lines="skip").dropna()
    moments = np.unique(rows["time_ns"].to_numpy(dtype=np.int64))
    groups = rows.groupby(["source", "pid", "thread"])
    series = {_key(key): _series(group, moments) for key, group in groups}
    series |= {key: _while_it_grew(each) for key, each in series.items() if key[0] == THREAD}
    quota = (THROTTLED, 0, 0)
    return Contention(moments, series | ({quota: _on_any_core(series[quota])} if quota in series else {}))


def _on_any_core(series: Series) -> Series:
    """The total of a control group, which the kernel adds up over the cores, as time in which any core was stopped: at
    most, between two samples, the time between them. Where the total falls it is another group's from then on.
    """
    moments, totals = series
    return moments, np.concatenate(([0], np.cumsum(np.clip(np.diff(totals), 0, np.diff(moments)))))


def _while_it_grew(series: Series) -> Series:
    """The total of a thread, as it stood in the run queue: the kernel adds a stay there only when the thread gets a
    core. So what is more than the time between two samples belongs before them.
    """
    moments, totals = series
    return moments, moments + np.maximum.accumulate((totals - moments)[::-1])[::-1]


def _key(key: tuple[str, float, float]) -> tuple[str, int, int]:
    return str(key[0]), int(key[1]), int(key[2])


def _series(rows: pd.DataFrame, moments: np.ndarray) -> Series:
    """The totals of one source at every sample from its first on: where it has no row it did not grow."""
    written, totals = rows["time_ns"].to_numpy(dtype=np.int64), rows["total_ns"].to_numpy(dtype=np.int64)
    later = moments[moments >= written[0]]
    return later, totals[np.searchsorted(written, later, side="right") - 1]
