"""Several machines on one clock: each boot of a kernel has a CLOCK_MONOTONIC of its own.

What was sent comes before what was received, so every message between two machines bounds the offset of their clocks
from one side. Without messages both ways, or where they contradict each other, the trace is refused. A process that
could not read which machine and boot it is on counts to those that were booted in the same second as it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from probes.errors import EnginescopeError
from tracing.events.file import EventFile
from tracing.events.layout import DEVICE
from tracing.events.processfile import ProcessRecord

PIDS = 1 << 22  # Linux has no process id above that
HALF = 32
SAME_BOOT_NS = 1_000_000_000  # by which the moments of one boot differ, as processes tell it from their wall clock
# Who sent, who received, and what they have in common. Steps are numbered in each core: they tell where there is one.
BY_REQUEST = ((("client.send", "client.send_async"), ("core.receive",)),)
BY_KEY = ((("core.encode",), ("client.receive",)),)
BY_STEP = ((("executor.dispatch",), ("worker.execute",)), (("worker.execute",), ("scheduler.update",)))


def on_one_clock(files: list[EventFile]) -> list[EventFile]:
    """The files with all times on the clock of the machine with the front end; `EnginescopeError` where it cannot be.

    Process ids that two machines have in common are made distinct.
    """
    nodes = [[files[place] for place in places] for places in machines([file.process for file in files])]
    if len(nodes) < 2:
        return files
    ordered = sorted(nodes, key=lambda of_node: not any("front end" in f.process.serves for f in of_node))
    first, *others = ordered
    step_tells = sum("core" in file.process.serves for file in files) == 1
    joined = list(first)
    for number, node in enumerate(others, 1):
        offset_ns, off_by_ns = offset(_events(joined), _events(node), step_tells)
        joined += [_moved(file, offset_ns, off_by_ns, number * PIDS) for file in node]
    return joined


def machines(processes: Sequence[ProcessRecord]) -> list[list[int]]:
    """The places of the processes of each machine; `EnginescopeError` where it is not known which is a process's."""
    known: list[list[int]] = []
    said_most = sorted(range(len(processes)), key=lambda at: _unsaid(processes[at]))
    for place in said_most:
        process = processes[place]
        mine = [each for each in known if _on_one_boot(processes[each[0]], process)]
        if not process.boot_id and process.anchor is None:  # its process file is lost
            mine = known
        if len(mine) > 1:
            raise EnginescopeError(
                f"process {process.pid} of this trace does not say on which of {len(mine)} machines it ran: its clock "
                "cannot be related; review each machine's folder by itself"
            )
        if mine:
            mine[0].append(place)
        else:
            known.append([place])
    return [sorted(places) for places in known]


def _unsaid(process: ProcessRecord) -> tuple[bool, bool, bool]:
    return not process.boot_id, process.anchor is None, not process.machine_id


def _on_one_boot(one: ProcessRecord, other: ProcessRecord) -> bool:
    """Whether two processes have the same clock: by their boot, or by when that was where one could not read it.

    Machine ids that differ are those of two containers on one kernel, or of two machines of which one was copied while
    it ran: when they were booted tells.
    """
    copied = one.machine_id and other.machine_id and one.machine_id != other.machine_id
    if one.boot_id and other.boot_id and not (copied and one.boot_id == other.boot_id):
        return one.boot_id == other.boot_id
    if one.anchor is None or other.anchor is None:
        return one.anchor is other.anchor
    return abs(one.anchor.ahead_ns - other.anchor.ahead_ns) <= SAME_BOOT_NS


def offset(mine: pd.DataFrame, theirs: pd.DataFrame, step_tells: bool = True) -> tuple[int, int]:
    """What to add to their times for ours, and by how much that may be off, in ns."""
    least = [ours - other for ours, other in _crossings(mine, theirs, step_tells)]
    most = [ours - other for other, ours in _crossings(theirs, mine, step_tells)]
    if not least or not most:
        raise EnginescopeError(
            "the processes of this trace ran on several machines, and no messages went both ways between them: their "
            "clocks cannot be related; review each machine's folder by itself"
        )
    low, high = max(least), min(most)
    if low > high:
        raise EnginescopeError(
            f"the messages between two machines contradict each other by {(low - high) / 1e3:,.1f} µs: their "
            "clocks ran at different speeds, or one was set; review each machine's folder by itself"
        )
    return (low + high) // 2, (high - low) // 2 + 1


def _crossings(senders: pd.DataFrame, receivers: pd.DataFrame, step_tells: bool) -> Iterator[tuple[int, int]]:
    """When each message was sent, and when it was received, each on its own machine's clock."""
    kinds = [("request", pair) for pair in BY_REQUEST] + [("step", pair) for pair in BY_KEY]
    kinds += [("step", pair) for pair in BY_STEP] if step_tells else []
    for common, (sending, receiving) in kinds:
        sent = senders[senders["site"].isin(sending)].drop_duplicates(common)
        pairs = sent.merge(receivers[receivers["site"].isin(receiving)].drop_duplicates(common), on=common)
        pairs = pairs[(pairs[common] != "") & (pairs[common] != -1)]
        yield from zip(pairs["start_ns_x"].tolist(), pairs["start_ns_y"].tolist(), strict=True)


def _events(files: list[EventFile]) -> pd.DataFrame:
    """The starts of all spans, with their site, step and request."""
    frames = []
    for file in files:
        spans, sites = file.spans, [site.name for site in file.process.sites]
        requests = [file.texts.get(number, "") for number in spans["request"].tolist()]
        columns = {"start_ns": spans["start"], "step": spans["step"], "request": requests}
        frames.append(pd.DataFrame({"site": np.array(sites, dtype=object)[spans["site"]], **columns}))
    return pd.concat(frames, ignore_index=True).sort_values("start_ns", kind="stable")


def _moved(file: EventFile, offset_ns: int, off_by_ns: int, above: int) -> EventFile:
    """A file with all of its times moved, those that the process gives too, and its process ids raised."""
    spans = file.spans.copy()
    spans["start"] += offset_ns
    spans["end"] += offset_ns
    heads, counts, words = file.lists[DEVICE]
    lists = file.lists | {DEVICE: (heads, counts, _later(words, offset_ns))}
    process = replace(
        _process_later(file.process, offset_ns),
        pid=file.process.pid + above,
        parent=file.process.parent + above,
        clock_uncertainty_ns=off_by_ns,
    )
    return replace(file, process=process, spans=spans, lists=lists)


def _process_later(process: ProcessRecord, offset_ns: int) -> ProcessRecord:
    """When the wall clock was read, and from when on the records are whole (0: always), at a later time."""
    first_ns, anchor = process.first_ns, process.anchor
    return replace(
        process,
        first_ns=first_ns + offset_ns if first_ns else 0,
        anchor=replace(anchor, monotonic_ns=anchor.monotonic_ns + offset_ns) if anchor else None,
    )


def _later(words: np.ndarray, offset_ns: int) -> np.ndarray:
    """The device's pieces, three times in halves and an uncertainty each, at a later time."""
    rows = words.reshape(-1, 7).astype(np.int64)
    times = rows[:, 0:6:2] + (rows[:, 1:6:2] << HALF) + offset_ns
    rows[:, 0:6:2], rows[:, 1:6:2] = times & ((1 << HALF) - 1), times >> HALF
    return rows.astype("<u4").reshape(-1)
