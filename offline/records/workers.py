"""The workers of an engine beside each other: what each holds, and where they differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from offline.records.lines import ProcessMemory
from tracing.events.enginephase import EnginePhase

UNLIKE = 0.10  # of the larger one: a difference beyond it is named
PARTS = {"weights_bytes": "memory in weights", "kv_cache_bytes": "KV cache", "rss_bytes": "resident memory"}


@dataclass(frozen=True)
class WorkerMemory:
    """One worker after the start, in bytes; None where it did not tell."""

    title: str
    weights_bytes: int | None
    kv_cache_bytes: int | None
    rss_bytes: int | None


def worker_memory(phases: Sequence[EnginePhase], memory: Sequence[ProcessMemory]) -> list[WorkerMemory]:
    """The workers of a start: the processes that loaded weights, by their titles."""
    pids = dict.fromkeys(phase.pid for phase in phases if phase.weights_bytes is not None)
    processes = {each.pid: each for each in memory}
    workers = []
    for pid in pids:
        own, process = [phase for phase in phases if phase.pid == pid], processes.get(pid)
        kv = next((phase.kv_cache_bytes for phase in own if phase.kv_cache_bytes is not None), None)
        weights = next(phase.weights_bytes for phase in own if phase.weights_bytes is not None)
        title = process.title if process else f"process {pid}"
        workers.append(WorkerMemory(title, weights, kv, process.rss_bytes if process else None))
    return sorted(workers, key=lambda worker: worker.title)


def unbalanced(workers: Sequence[WorkerMemory]) -> Iterator[str]:
    """A sentence for each part of memory in which workers differ by more than a tenth of the larger."""
    for name, part in PARTS.items():
        sizes = {worker.title: size for worker in workers if (size := getattr(worker, name)) is not None}
        if len(sizes) < 2:
            continue
        least, most = min(sizes, key=lambda title: sizes[title]), max(sizes, key=lambda title: sizes[title])
        share = 1 - sizes[least] / sizes[most] if sizes[most] else 0.0
        if share > UNLIKE:
            yield f"{least} has {share:.0%} less {part} than {most}"
