"""Synthetic sample folders with known stacks and times, in py-spy's and the sampler's layout."""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Call = tuple[str, str, int]  # name, file, line
Stack = tuple[Call, ...] | None
Thread = tuple[int, int, str]  # process, thread, name
ROOT = 7  # the process of the sampler itself
PERIOD_NS = 10_000_000
BEACON_NS = 3_000_000


def sampled_folder(
    folder: Path,
    threads: Mapping[Thread, Sequence[Stack]],
    first_ns: int = 1_000_000_000,
    live: Mapping[str, Mapping[str, int]] | None = None,
    delay_us: int = 0,
    beacon: bool = True,
    at: Sequence[int] | None = None,
    **more: Any,
) -> Path:
    """Write what py-spy would of rounds 10 ms apart (or only those that `at` numbers), the first at `first_ns`.

    `threads` has by process, thread and name the stack in each round (None: not there yet). py-spy's clock begins at
    `first_ns` - 0.4 s, and it stamps `delay_us` after it has looked.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rounds = at or range(max(map(len, threads.values())))
    last_ns = first_ns + (rounds[-1] + 1) * PERIOD_NS
    stamps = array("q", range(first_ns - 10 * BEACON_NS + 1, last_ns + BEACON_NS, BEACON_NS))
    written: list[dict[str, Any]] = []
    shown: dict[Thread, Stack] = {}
    for number, place in enumerate(rounds):
        time_ns = first_ns + place * PERIOD_NS
        current = {key: stacks[number] for key, stacks in threads.items() if number < len(stacks)}
        if beacon:
            current[ROOT, ROOT, "_shine"] = _beacon(max(each for each in stamps if each <= time_ns))
        written += _round(current, shown, (time_ns - first_ns) // 1000 + 400_000 + delay_us)
    end = (rounds[-1] + 1) * PERIOD_NS // 1000 + 400_000 + delay_us
    for key, stack in shown.items():
        written += _changed(key, stack, None, end)
    (folder / "pyspy-events.json").write_text(json.dumps(written))
    with (folder / "pyspy-beacon.bin").open("wb") as file:
        stamps.tofile(file)
    alive = {str(pid): {str(thread): last_ns for p, thread, _ in threads if p == pid} for pid, _, _ in threads}
    header = {"schema": 1, "version": "py-spy synthetic", "rate": 100, "root": ROOT, "beacon": beacon, "early": False}
    times = {"started_ns": first_ns - 400_000_000, "ended_ns": last_ns, "exit_code": 0, "live": live or alive}
    (folder / "pyspy.json").write_text(json.dumps(header | times | more))
    return folder


def _beacon(began_ns: int) -> tuple[Call, ...]:
    """The stack of the sampler's thread that shows the time."""
    return (("_shine", "/x/tracing/sampler.py", 9), (f"beacon {began_ns}", "/x/s.py", 1))


def _round(current: Mapping[Thread, Stack], shown: dict[Thread, Stack], stamp: int) -> list[dict[str, Any]]:
    """What a round adds: the stacks that are not as they were `shown`, which then shows them."""
    changed = {key: stack for key, stack in current.items() if stack is not None and stack != shown.get(key)}
    events = [event for key, stack in changed.items() for event in _changed(key, shown.get(key), stack, stamp)]
    shown.update(changed)
    return events


def _changed(key: Thread, before: Stack, after: Stack, stamp: int) -> list[dict[str, Any]]:
    """Frames end from the innermost out to the one both stacks share, and begin from there."""
    pid, thread, name = key
    label = ((f'process {pid}:"synthetic"', "", 0), (f"thread ({thread}): {name}", "", 0))
    old = (*label, *before) if before is not None else ()
    new = (*label, *after) if after is not None else ()
    same = 0
    while same < min(len(old), len(new)) and old[same] == new[same]:
        same += 1
    ended = [("E", call) for call in reversed(old[same:])]
    return [
        {
            "args": {"filename": file, "line": line},
            "cat": "py-spy",
            "name": called,
            "ph": phase,
            "pid": pid,
            "tid": 140_000_000_000_000 + thread,
            "ts": stamp,
        }
        for phase, (called, file, line) in [*ended, *(("B", call) for call in new[same:])]
    ]
