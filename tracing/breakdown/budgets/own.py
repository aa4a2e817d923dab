"""What is each request's own: the spans under its ids, and garbage collections on the threads that served it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracing.breakdown.budgets.channel import EVER, Channel
from tracing.breakdown.budgets.intervals import Intervals, explains, of_rows
from tracing.timeline.index import Index
from tracing.timeline.intervals import expanded
from tracing.timeline.lookups.rows import Rows
from tracing.timeline.requests import Flow
from tracing.timeline.requestspans import Pairs, named, rendered

Channels = Mapping[tuple[int, int], Channel]  # by their core and front end


@dataclass(frozen=True)
class Requests:
    """Some requests as arrays, the numbers of their ids, and the rows of the spans under these in each one's time:
    `named`, pairs of a request's place and a row, without those of other calls with the same id.

    `internal` is a request's own id, `external` the caller's, `delivered` the one under which it got its outputs: its
    parent's or its own.
    """

    flows: list[Flow]
    start: Rows
    end: Rows
    front: Rows
    core: Rows
    internal: Rows
    external: Rows
    delivered: Rows
    named: Pairs

    def of(self, core: int, front: int) -> npt.NDArray[np.bool_]:
        """Which of them a core and a front end served."""
        return (self.core == core) & (self.front == front)


def requests(index: Index, flows: list[Flow]) -> Requests:
    """Some requests with the spans under their ids."""
    start, end, front, core = (
        np.array([getattr(flow, name) for flow in flows], dtype=np.int64)
        for name in ("start_ns", "end_ns", "front_pid", "core_pid")
    )
    internal = index.numbers_of(flow.request for flow in flows)
    external = index.numbers_of(flow.external for flow in flows)
    delivered = index.numbers_of(flow.parent or flow.request for flow in flows)
    return Requests(flows, start, end, front, core, internal, external, delivered, named(index, flows))


def own_intervals(index: Index, asked: Requests, channels: Channels) -> Intervals:
    """The spans under the ids of each request, the tokenization of its prompt, and collections on its threads; without
    what a message of its steps carries, which it shares."""
    of, row = asked.named
    accepts = index.is_at(row, "llm.add_request")
    of, row = np.concatenate((of, of[accepts])), np.concatenate((row, rendered(index, row[accepts])))
    telling = explains(index, row)
    of, row = of[telling], row[telling]
    pause_of, pauses = _collections(index, asked, of, row, channels)
    alone = np.flatnonzero(~_is_shared(index, asked, of, row, channels))
    of, row = of[alone], row[alone]
    return of_rows(index, np.concatenate((of, pause_of)), np.concatenate((row, pauses)))


def _is_shared(index: Index, asked: Requests, of: Rows, row: Rows, channels: Channels) -> npt.NDArray[np.bool_]:
    """Which spans carry the key of a message of one of their request's steps, where these follow each other."""
    steps = [flow.steps for flow in asked.flows]
    gapless = np.array([len(each) > 0 and each[-1] - each[0] + 1 == len(each) for each in steps], dtype=bool)
    first, last = (np.array([each[at] if len(each) else EVER for each in steps], dtype=np.int64) for at in (0, -1))
    shared = np.zeros(len(row), dtype=bool)
    keyed = np.flatnonzero((index.step[row] >= 0) & index.has("role", row, "front end", "core output") & gapless[of])
    for core, front in channels:
        mine = keyed[asked.of(core, front)[of[keyed]]]
        sender = index.sent.sender(core, front, index.step[row[mine]])
        shared[mine] = (sender >= first[of[mine]]) & (sender <= last[of[mine]])
    return shared


def _collections(index: Index, asked: Requests, of: Rows, row: Rows, channels: Channels) -> Pairs:
    """Garbage collections during each request's time on the threads that served it."""
    pauses = index.at("gc")
    if not len(pauses):
        return pauses, pauses
    threads = index.threads(pauses)
    served_of, served = [of], [index.threads(row)]
    for pair, channel in channels.items():
        steps_of, steps = asked_steps(asked, np.flatnonzero(asked.of(*pair)))
        for thread, working in channel.working.items():
            ours = np.unique(steps_of[np.isin(steps, working)])
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


def asked_steps(asked: Requests, places: Rows) -> Pairs:
    """The steps of some requests, each with its request's place."""
    steps = [asked.flows[place].steps for place in places.tolist()]
    return np.repeat(places, [len(each) for each in steps]), np.concatenate([np.zeros(0, np.int64), *steps])
