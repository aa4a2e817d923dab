"""The last spans that a recorder has written of an engine, and the requests of its last step.

The files are mapped and append-only: reading them takes nothing from the engine.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from probes.errors import EnginescopeError
from tracing.events import standing
from tracing.events.file import EventFile, read
from tracing.events.layout import BATCH
from tracing.hang import frames
from tracing.hang.situation import LastSpan
from tracing.pyspy.sampler import recorder_folder

MOST_BYTES = 2**31  # of one file; a longer recording is left alone
STEPPING, NO_STEP = (frames.CORE, frames.WORKER), -1  # what the others number is messages
LAST_RECORDS = 100_000  # of a file: some seconds of the busiest process, and whatever it did before it stood still


@dataclass(frozen=True)
class LastSteps:
    """The last step that a core began, and the last that scheduled anything, with its requests; -1 where none did."""

    begun: int
    batch: int = -1
    requests: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recorded:
    """The last span of each thread, and the last steps of each core, by the number of its process.

    In `standby` they are of the last time that somebody recorded, whatever the engine has done since.
    """

    spans: tuple[LastSpan, ...] = ()
    cores: Mapping[int, LastSteps] = field(default_factory=dict)
    standby: bool = False

    @property
    def requests(self) -> tuple[str, ...]:
        """The requests of the last batches of all cores."""
        return tuple(request for steps in self.cores.values() for request in steps.requests)


def folder_of(pids: Sequence[int]) -> str:
    """The folder that the recorder of an engine's processes writes to, front end first: a recording, a ring, or what
    stands by; '' where there is none."""
    return recorder_folder(pids[0]) or _standing_folder(pids)


def _standing_folder(pids: Sequence[int]) -> str:
    """That which one of the processes has made for itself: its environment need not say so."""
    folders = (folder for room in standing.rooms() if room.is_dir() for folder in sorted(room.iterdir()))
    return next((str(folder) for folder in folders if (how := standing.read(folder)) and how.pid in pids), "")


def recorded(folder: str) -> Recorded:
    """What a trace folder ends with; nothing where there is none, or it cannot be read."""
    spans: list[LastSpan] = []
    cores: dict[int, LastSteps] = {}
    for path in sorted(Path(folder).glob("events-*.bin")) if folder else ():
        if path.stat().st_size > MOST_BYTES:
            continue
        try:
            file = read(path, LAST_RECORDS)
        except EnginescopeError:
            continue
        own = _last_of_threads(file)
        spans += own
        begun = [span.step for span in own if span.role == frames.CORE and span.step >= 0]
        if begun:
            cores[file.process.pid] = LastSteps(max(begun), *_last_batch(file))
    how = standing.read(Path(folder)) if folder else None
    return Recorded(tuple(spans), cores, how is not None and how.standby)


def _last_of_threads(file: EventFile) -> list[LastSpan]:
    """A span a thread and site, the last of each: a wait that lasts has none of its own yet."""
    now_ns, newest = time.monotonic_ns(), file.spans[np.argsort(file.spans["end"], kind="stable")][::-1]
    sites, serves = file.process.sites, file.process.serves
    roles = [site.role if site.role in serves else serves[0] for site in sites] if serves else []
    numbered = [{site.role, role} <= set(STEPPING) for site, role in zip(sites, roles, strict=False)]
    _, firsts = np.unique(newest["thread"].astype(np.int64) * len(sites) + newest["site"], return_index=True)
    return [
        LastSpan(
            *(file.process.pid, thread, sites[site].name, roles[site]),
            *(step if numbered[site] else NO_STEP, (now_ns - end) / 1e9),
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
