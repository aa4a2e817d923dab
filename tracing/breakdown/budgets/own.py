"""What is each request's own: the spans under its ids, and garbage collections on the threads that served it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracing.breakdown.budgets.channel import rows_of
from tracing.breakdown.budgets.intervals import Intervals, explains, of_rows
from tracing.events.layout import CALLED
from tracing.timeline.index import Index
from tracing.timeline.intervals import expanded
from tracing.timeline.lookups.rows import Rows
from tracing.timeline.requests import Flow
from tracing.timeline.requestspans import named

Channels = list[tuple[int, int]]  # the core and the front end of each


@dataclass(frozen=True)
class Requests:
    """Some requests as arrays, and the rows of all spans under their ids: pairs of a request's place and a row.

    `internal` are those under its own id, `external` those under the caller's, `delivered` those under its parent's or
    its own; `named` are all in its time, without those of other calls with the same id.
    """

    flows: list[Flow]
    start: Rows
    end: Rows
    front: Rows
    core: Rows
    internal: tuple[Rows, Rows]
    external: tuple[Rows, Rows]
    delivered: tuple[Rows, Rows]
    named: tuple[Rows, Rows]


def requests(index: Index, flows: list[Flow], again: set[tuple[int, str]]) -> Requests:
    """Some requests with the spans under their ids; `again` is as `called_again` has it."""
    start, end, front, core = (
        np.array([getattr(flow, name) for flow in flows], dtype=np.int64)
        for name in ("start_ns", "end_ns", "front_pid", "core_pid")
    )
    internal = _under(index, [flow.request for flow in flows])
    external = _under(index, [flow.external for flow in flows])
    parents = _under(index, [flow.parent or "" for flow in flows])
    delivered = _under(index, [flow.parent or flow.request for flow in flows])
    of, row = (np.concatenate(columns) for columns in zip(internal, external, parents, strict=True))
    inside = (index.start[row] >= start[of]) & (index.start[row] < end[of])
    several = [place for place, flow in enumerate(flows) if (flow.front_pid, flow.external) in again]
    inside &= ~np.isin(of, several)
    slow = [(np.full(len(rows), place), rows) for place in several for rows in [named(index, flows[place])]]
    of = np.concatenate([of[inside], *(numbers for numbers, _ in slow)])
    row = np.concatenate([row[inside], *(rows for _, rows in slow)])
    return Requests(flows, start, end, front, core, internal, external, delivered, (of, row))


def _under(index: Index, names: list[str]) -> tuple[Rows, Rows]:
    rows = [index.rows(name) for name in names]
    of = np.repeat(np.arange(len(names)), [len(each) for each in rows])
    return of, np.concatenate([np.zeros(0, np.int64), *rows])


def called_again(index: Index) -> set[tuple[int, str]]:
    """The front end's process and the id of each request that was called several times under the same id."""
    rows = index.at("async.generate")
    calls = rows[index.value[rows] == CALLED]
    earlier: set[tuple[int, str]] = set()
    again = set()
    for row in calls.tolist():
        key = (int(index.pid[row]), index.name(row))
        again |= {key} & earlier
        earlier.add(key)
    return again


def own_intervals(index: Index, asked: Requests, channels: Channels) -> Intervals:
    """The spans under the ids of each request, the tokenization of its prompt, and collections on its threads."""
    of, row = asked.named
    accepts = index.is_at(row, "llm.add_request")
    of, row = np.concatenate((of, of[accepts])), np.concatenate((row, rendered(index, row[accepts])))
    telling = explains(index, row)
    of, row = of[telling], row[telling]
    pause_of, pauses = _collections(index, asked, of, row, channels)
    return of_rows(index, np.concatenate((of, pause_of)), np.concatenate((row, pauses)))


def rendered(index: Index, accepts: Rows) -> Rows:
    """The tokenization of the prompt of each `llm.add_request`, which comes right before it on its thread; else it."""
    result = accepts.copy()
    renders, adding = index.at("llm.render"), index.at("llm.add_request")
    of_render, of_adding, of_accept = (index.threads(rows) for rows in (renders, adding, accepts))
    for thread in np.unique(of_accept).tolist() if len(renders) else []:
        mine = np.flatnonzero(of_accept == thread)
        before, others = renders[of_render == thread], adding[of_adding == thread]
        place = np.searchsorted(index.end[before], index.start[accepts[mine]], "right") - 1
        mine, place = mine[place >= 0], place[place >= 0]
        begun, accepted = index.start[before[place]], index.start[accepts[mine]]
        between = np.searchsorted(index.start[others], accepted, "left") - np.searchsorted(
            index.start[others], begun, "right"
        )
        result[mine[between == 0]] = before[place[between == 0]]
    return result


def _collections(index: Index, asked: Requests, of: Rows, row: Rows, channels: Channels) -> tuple[Rows, Rows]:
    """Garbage collections during each request's time on the threads that served it."""
    pauses = index.at("gc")
    if not len(pauses):
        return pauses, pauses
    threads = index.threads(pauses)
    served_of, served = [of], [index.threads(row)]
    for core, front in channels:
        steps_of, steps = asked_steps(asked, np.flatnonzero((asked.core == core) & (asked.front == front)))
        senders, rows = rows_of(index, core, front)
        working = index.threads(rows)
        for thread in np.unique(threads).tolist():
            ours = np.unique(steps_of[np.isin(steps, senders[working == thread])])
            served_of.append(ours)
            served.append(np.full(len(ours), thread))
    pairs = np.unique(np.stack((np.concatenate(served_of), np.concatenate(served))), axis=1)
    pause_of, during = [], []
    for thread in np.unique(threads).tolist():
        mine = pauses[threads == thread]
        requests_here = pairs[0][pairs[1] == thread]
        reach = np.maximum.accumulate(index.end[mine])
        which, place = expanded(
            np.searchsorted(reach, asked.start[requests_here], "right"),
            np.searchsorted(index.start[mine], asked.end[requests_here], "left"),
        )
        pause_of.append(requests_here[which])
        during.append(mine[place])
    return np.concatenate(pause_of), np.concatenate(during)


def asked_steps(asked: Requests, places: Rows) -> tuple[Rows, Rows]:
    """The steps of some requests, each with its request's place."""
    steps = [asked.flows[place].steps for place in places.tolist()]
    return np.repeat(places, [len(each) for each in steps]), np.concatenate([np.zeros(0, np.int64), *steps])
