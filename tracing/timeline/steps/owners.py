"""The core that each process of a trace works for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tracing.events.processfile import ProcessRecord


def owners(processes: Sequence[ProcessRecord], with_steps: Iterable[int]) -> dict[int, int]:
    """The core process that each process works for: itself, or the nearest core among those that started it.

    `with_steps` are the processes that scheduled steps. A worker that no core started, as Ray's and those on other
    machines, works for the core where there is one only.
    """
    serving = {process.pid for process in processes if "core" in process.serves}
    cores = serving | set(with_steps)
    parents = {process.pid: process.parent for process in processes}
    owner_of = {}
    for pid in parents:
        owner, passed = pid, set[int]()
        while owner not in cores and owner in parents and owner not in passed:
            passed.add(owner)
            owner = parents[owner]
        if owner in cores:
            owner_of[pid] = owner
    if len(cores) == 1:
        workers = [process.pid for process in processes if process.serves == ("worker",)]
        owner_of |= dict.fromkeys((pid for pid in workers if pid not in owner_of), *cores)
    return owner_of
