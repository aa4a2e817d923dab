"""What the requests of one core and one front end share: the spans of steps and messages, the waits of messages, loops,
and the core's other work. Each request sees of it what belongs to its own steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracing.breakdown.budgets.intervals import MESSAGES, Intervals, Names, by_number, explains, intervals, of_rows
from tracing.breakdown.requests.piece import WAIT
from tracing.timeline.index import Index
from tracing.timeline.intervals import distinct, expanded
from tracing.timeline.lookups.rows import NONE, Rows
from tracing.timeline.nesting import Cut

EVER = 1 << 61  # later than any time, and more than any step


@dataclass(frozen=True)
class Channel:
    """A core and a front end, with all steps of the core by number.

    `working` has by thread that collected garbage the steps of which it has spans. `intervals` are those of steps, by
    step; `bounds` has the places at which those of each step begin, and where the last end. `low` and `high` are when a
    step shows first and last, `begun` and `over` when it was in flight (`EVER` and `-EVER` where it was not), `through`
    when all before it were updated (`-EVER`: not known).
    """

    front_loops: Cut
    core_loops: Cut
    core_work: Cut
    work_step: Rows  # of `core_work`
    working: dict[int, Rows]
    numbers: Rows
    bounds: Rows
    low: Rows
    high: Rows
    begun: Rows
    over: Rows
    through: Rows
    intervals: Intervals


def channel(index: Index, names: Names, core_pid: int, front_pid: int) -> Channel:
    """What a trace has of a core and a front end."""
    waits = _message_waits(index, names, core_pid, front_pid)
    spans = rows_of(index, core_pid, front_pid)
    shared = by_number([of_rows(index, *spans), *waits])
    work = index.cuts.core_work(core_pid)
    scheduled, updated = (index.by_step(f"scheduler.{call}", core_pid)[0] for call in ("schedule", "update"))
    work_step = index.step[work.place]
    stepped = work_step >= 0
    numbers = distinct(np.concatenate((shared.of, scheduled, updated, work_step[stepped])))
    begun, over = (
        np.where(rows < 0, none, times[rows])
        for site, none, times in (("scheduler.schedule", EVER, index.start), ("scheduler.update", -EVER, index.end))
        for rows in [index.last_with(site, core_pid, numbers)]
    )
    flown = (begun < EVER) & (over > -EVER)
    low, high = np.full(len(numbers), EVER), np.full(len(numbers), -EVER)
    for of, start, end in (
        (shared.of, shared.start, shared.end),
        (numbers[flown], begun[flown], over[flown]),
        (work_step[stepped], work.start[stepped], work.end[stepped]),
    ):
        np.minimum.at(low, np.searchsorted(numbers, of), start)
        np.maximum.at(high, np.searchsorted(numbers, of), end)
    return Channel(
        index.cuts.loops(front_pid, "front end"),
        index.cuts.loops(core_pid, "core"),
        work,
        work_step,
        _working(index, *spans),
        numbers,
        np.searchsorted(shared.of, np.append(numbers, EVER)),
        low,
        high,
        np.where(flown, begun, EVER),
        np.where(flown, over, -EVER),
        _through(index, core_pid, numbers),
        shared,
    )


def _working(index: Index, of: Rows, row: Rows) -> dict[int, Rows]:
    """By thread that collected garbage: the steps of which it has spans."""
    collecting = distinct(index.threads(index.at("gc"))).tolist()
    threads = index.threads(row) if collecting else row
    return {thread: distinct(of[threads == thread]) for thread in collecting}


def rows_of(index: Index, core_pid: int, front_pid: int) -> tuple[Rows, Rows]:
    """By step, the spans of steps in the core and its workers, and those that carry the key of a message of a step."""
    steps, rows = index.stepped.get(core_pid, (NONE, NONE))
    senders, keys = index.sent.between(core_pid, front_pid)
    numbers, keyed = index.keyed
    which, place = expanded(np.searchsorted(numbers, keys, "left"), np.searchsorted(numbers, keys, "right"))
    of, row = np.concatenate((steps, senders[which])), np.concatenate((rows, keyed[place]))
    telling = explains(index, row)
    return of[telling], row[telling]


def _message_waits(index: Index, names: Names, core_pid: int, front_pid: int) -> list[Intervals]:
    """On the way back, by message: the output queue, the socket, and the front end's queue or event loop."""
    steps, keys = index.sent.between(core_pid, front_pid)
    update = index.last_with("scheduler.update", core_pid, steps)
    encode, send = (index.first_with(site, core_pid, keys) for site in ("core.encode", "core.send"))
    received = index.first_with("client.receive", front_pid, keys)
    handled = index.first_with("output.process", front_pid, keys)
    loop, queue = names.number("wait: event loop"), names.number("wait: front-end queue")
    both = (received >= 0) & (handled >= 0)
    here = np.zeros(len(steps), dtype=bool)
    here[both] = index.thread[received[both]] == index.thread[handled[both]]
    return [
        _between(index, steps, part, after, before)
        for part, after, before in (
            (np.full(len(steps), names.number("wait: output queue")), update, encode),
            (np.full(len(steps), names.number("wait: socket out")), np.where(send < 0, encode, send), received),
            (np.where(here, loop, queue), received, handled),
        )
    ]


def _between(index: Index, of: Rows, part: Rows, after: Rows, before: Rows) -> Intervals:
    """From the end of one span to the start of another, where both are known (not -1)."""
    known = np.flatnonzero((after >= 0) & (before >= 0))
    start, end = index.end[after[known]], index.start[before[known]]
    return intervals(of[known], part[known], WAIT, start, end, MESSAGES)


def _through(index: Index, core_pid: int, numbers: Rows) -> Rows:
    """By step: when all before it were updated, where the last of them was."""
    ends = index.update_ends(core_pid)
    updated = np.array([*ends, EVER], dtype=np.int64)
    until = np.array([*(end for _, end in ends.values()), -EVER], dtype=np.int64)
    place = np.searchsorted(updated[:-1], numbers - 1)
    return np.where(updated[place] == numbers - 1, until[place], -EVER)
