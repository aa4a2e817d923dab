"""What an engine did in a window of time: rates, load, and the requests that run; out of its records as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from probes.devices.sampling import SampledDevice
from tracing.events.file import EventFile
from tracing.events.layout import BATCH, COUNTS
from tracing.timeline.intervals import Ints
from tracing.timeline.spans import COUNT_NAMES, sites_of
from tracing.top.timeuse import TimeUse

MOST_RUNNING = 8


@dataclass(frozen=True)
class RunningRequest:
    """A request that was scheduled in the last step and has not ended: its internal id, for how long it has been seen
    to run, and its last stage."""

    request: str
    seen_s: float
    stage: str


@dataclass(frozen=True)
class EngineActivity:
    """The figures of a window; those that no step tells are None. `use` may be that of a part of it."""

    requests_per_s: float
    steps_per_s: float
    tokens_per_s: float
    step_ms: float | None
    running: int
    waiting: int
    preempted: int
    kv_used: float | None  # of the KV cache's blocks
    slowest: tuple[RunningRequest, ...]
    use: TimeUse
    cards: tuple[SampledDevice, ...]  # all of this machine, as their drivers describe the last second


def activity(
    files: Sequence[EventFile],
    use: TimeUse,
    length_s: float,
    first_seen_s: Mapping[str, float],
    now_s: float,
    cards: Sequence[SampledDevice] = (),
) -> EngineActivity:
    """Work the figures out; `first_seen_s` has when each request was first seen, on the clock of `now_s`."""
    lengths, names = np.concatenate([_step_lengths(file) for file in files]), running(files)
    counts = [table for file in files if len(table := file.table(COUNTS, len(COUNT_NAMES))[1])]
    last = {name: sum(int(table[-1, place]) for table in counts) for place, name in enumerate(COUNT_NAMES)}
    return EngineActivity(
        requests_per_s=sum(len(_at(file, "scheduler.free")) for file in files) / length_s,
        steps_per_s=sum(len(_at(file, "scheduler.update")) for file in files) / length_s,
        tokens_per_s=sum(int(file.lists[BATCH][2][1::2].sum()) for file in files) / length_s,
        step_ms=float(np.median(lengths)) / 1e6 if len(lengths) else None,
        running=len(names),
        waiting=last["waiting"],
        preempted=sum(int(table[:, COUNT_NAMES.index("preempted")].sum()) for table in counts),
        kv_used=last["kv_used_blocks"] / last["kv_blocks"] if last["kv_blocks"] else None,
        slowest=tuple(_slowest(files, names, first_seen_s, now_s)),
        use=use,
        cards=tuple(cards),
    )


def running(files: Sequence[EventFile]) -> list[str]:
    """The requests in the last step of each core, but for those that ended since."""
    return [file.texts.get(number, "") for file in files for number in _last_batch(file)]


def _last_batch(file: EventFile) -> Iterator[int]:
    """The numbers of the requests in the last step that scheduled any, but for those that ended."""
    _, counts, words = file.lists[BATCH]
    if len(words):
        freed = set(_at(file, "scheduler.free")["request"].tolist())
        yield from (number for number in words[-counts[counts > 0][-1] :: 2].tolist() if number not in freed)


def _at(file: EventFile, site: str) -> np.ndarray:
    """The spans of a site."""
    numbers = [number for number, each in enumerate(file.process.sites) if each.name == site]
    return file.spans[np.isin(file.spans["site"], numbers)]


def _step_lengths(file: EventFile) -> Ints:
    """Nanoseconds from the call of `schedule` to the end of the update, of each step that has both."""
    begun, over = _at(file, "scheduler.schedule"), _at(file, "scheduler.update")
    begun = begun[begun["step"] >= 0]
    _, first, last = np.intersect1d(begun["step"], over["step"], return_indices=True)
    return over["end"][last] - begun["start"][first]


def _slowest(
    files: Sequence[EventFile], names: list[str], first_seen_s: Mapping[str, float], now_s: float
) -> Iterator[RunningRequest]:
    since_s = {name: first_seen_s.get(name, now_s) for name in names}
    oldest = sorted(names, key=lambda name: since_s[name])[:MOST_RUNNING]
    last: dict[str, tuple[int, str]] = {}  # when the last span of each ended, and its stage
    for file in files:
        for name, end_ns, stage in _last_spans(file, oldest):
            last[name] = max(last.get(name, (0, "decode")), (end_ns, stage))
    return (RunningRequest(name, now_s - since_s[name], last.get(name, (0, "decode"))[1]) for name in oldest)


def _last_spans(file: EventFile, names: list[str]) -> Iterator[tuple[str, int, str]]:
    """Of some requests that a process knows: the name, and the end and stage of the last span there."""
    spans, sites = file.spans[file.spans["request"] > 0], sites_of(file.process)
    for number in np.unique(spans["request"]).tolist():
        if (name := file.texts.get(number, "")) in names:
            mine = spans[spans["request"] == number]
            last = mine[mine["end"].argmax()]
            yield name, int(last["end"]), sites[last["site"]].stage
