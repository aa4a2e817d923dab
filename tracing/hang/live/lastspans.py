"""The last spans that a recorder has written of an engine, and the requests of its last step.

The files are mapped and append-only: reading them takes nothing from the engine.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from probes.errors import EnginescopeError
from tracing.events.file import EventFile, read
from tracing.events.layout import BATCH
from tracing.hang import frames
from tracing.hang.situation import LastSpan

MOST_BYTES = 2**31  # of one file; a longer recording is left alone
LAST_RECORDS = 100_000  # of a file: some seconds of the busiest process, and whatever it did before it stood still


@dataclass(frozen=True)
class Recorded:
    """The last span of each thread, and the last step that scheduled anything: -1 where none did, and its requests."""

    spans: tuple[LastSpan, ...] = ()
    batch_step: int = -1
    requests: tuple[str, ...] = ()

    @property
    def step(self) -> int:
        """The last step that the core began, by what it has recorded; -1 where it has recorded none."""
        return max((span.step for span in self.spans if span.role == frames.CORE), default=-1)


def recorded(folder: str) -> Recorded:
    """What a trace folder ends with; nothing where there is none, or it cannot be read."""
    spans: list[LastSpan] = []
    step: int = -1
    requests: tuple[str, ...] = ()
    for path in sorted(Path(folder).glob("events-*.bin")) if folder else ():
        if path.stat().st_size > MOST_BYTES:
            continue
        try:
            file = read(path, LAST_RECORDS)
        except EnginescopeError:
            continue
        spans += _last_of_threads(file)
        step, requests = max((step, requests), _last_batch(file))
    return Recorded(tuple(spans), step, requests)


def _last_of_threads(file: EventFile) -> list[LastSpan]:
    """A span a thread and site, the last of each: a wait that lasts has none of its own yet."""
    now_ns, newest = time.monotonic_ns(), file.spans[np.argsort(file.spans["end"], kind="stable")][::-1]
    sites, pid = file.process["sites"], int(file.process["pid"])
    serves = file.process["serves"]
    _, firsts = np.unique(newest["thread"].astype(np.int64) * len(sites) + newest["site"], return_index=True)
    return [
        LastSpan(
            *(pid, thread, sites[site]["name"], sites[site]["role"] if sites[site]["role"] in serves else serves[0]),
            *(step, (now_ns - end) / 1e9),
        )
        for thread, site, step, end in newest[np.sort(firsts)[::-1]][["thread", "site", "step", "end"]].tolist()
        if serves
    ]


def _last_batch(file: EventFile) -> tuple[int, tuple[str, ...]]:
    """The last step that scheduled anything, and its requests: a core may go on to step without a batch."""
    headers, counts, words = file.lists[BATCH]
    filled = np.flatnonzero(counts)
    if not len(filled):
        return -1, ()
    last, end = filled[-1], int(counts.sum())  # nothing follows but empty lists
    batch = words[end - int(counts[last]) : end : 2]
    return int(headers["step"][last]), tuple(file.texts.get(int(number), "?") for number in batch)
