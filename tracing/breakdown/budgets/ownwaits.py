"""The named waits of each request, of many at once, and its waiting for earlier steps: see `waits`.

Pairs of a request's place and a row are sorted by both.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tracing.breakdown.budgets.intervals import LOOPS, WAITS, Intervals, Names, intervals, joined
from tracing.breakdown.budgets.own import Requests, asked_steps
from tracing.breakdown.requests.piece import EARLIER, WAIT
from tracing.breakdown.requests.queued import Stays, given_up, queued
from tracing.events.layout import CALLED, SUSPENDED, YIELDED
from tracing.timeline.index import Index
from tracing.timeline.intervals import expanded
from tracing.timeline.lookups.rows import Rows
from tracing.timeline.requestspans import Pairs, own_calls, rendered
from tracing.timeline.steps.heldback import wait_name

SENDING = ("client.send", "client.send_async")
IN_THE_CORE = ("core.receive", "core.preprocess", "core.dequeue", "core.add_request", "kv.remote_wait")


def own_waits(index: Index, names: Names, asked: Requests) -> Intervals:
    """All waits of each request but those of its messages."""
    schedules = _schedules(index, asked)
    front, way_in = _front_end(index, names, asked), _way_in(index, names, asked, schedules)
    return joined([*front, *way_in, *_steps(index, names, asked, schedules)])


def _at(index: Index, pairs: Pairs, *sites: str) -> Pairs:
    """Those at some sites."""
    here = index.is_at(pairs[1], *sites)
    return pairs[0][here], pairs[1][here]


def _inside(index: Index, asked: Requests, pairs: Pairs) -> Pairs:
    """Those in the front end of their request, and in its time."""
    of, row = pairs
    kept = (
        (index.pid[row] == asked.front[of]) & (index.start[row] >= asked.start[of]) & (index.end[row] <= asked.end[of])
    )
    return of[kept], row[kept]


def _first(pairs: Pairs) -> Pairs:
    """The first of each request."""
    head = np.diff(pairs[0], prepend=-1) != 0
    return pairs[0][head], pairs[1][head]


def _ending_last(index: Index, pairs: Pairs) -> Pairs:
    """Of each request the one that ends last."""
    of, row = pairs
    order = np.lexsort((-row, index.end[row], of))
    tail = np.diff(of[order], append=-1) != 0
    return of[order][tail], row[order][tail]


def _between(index: Index, part: int, after: Pairs, before: Pairs) -> Intervals:
    """From the end of the last of `after` to the start of the first of `before`, of each request that has both."""
    (of, left), (reached_of, reached) = _ending_last(index, after), _first(before)
    both, here, there = np.intersect1d(of, reached_of, assume_unique=True, return_indices=True)
    return _wait(part, both, index.end[left[here]], index.start[reached[there]])


def _wait(part: int | Rows, of: Rows, start: Rows, end: Rows) -> Intervals:
    return intervals(of, part, WAIT, start, end, WAITS)


def _front_end(index: Index, names: Names, asked: Requests) -> Iterator[Intervals]:
    """Waiting for a turn in `LLM.generate`, for the caller, the thread pool, and the event loop."""
    of, accept = _first(_inside(index, asked, index.by_request("llm.add_request").under(asked.external)))
    frames = index.at("llm.generate")
    begun = set(zip(index.start[frames].tolist(), index.pid[frames].tolist(), strict=True))
    called = [pair in begun for pair in zip(asked.start[of].tolist(), asked.front[of].tolist(), strict=True)]
    turn = np.array(called, dtype=bool)
    of, accept = of[turn], accept[turn]
    yield _wait(names.number("wait: turn in generate"), of, asked.start[of], index.start[rendered(index, accept)])
    of, row = calls = _inside(index, asked, own_calls(index, asked.flows))
    next_of, following = np.append(of[1:], -1), np.append(row[1:], -1)
    left = (next_of == of) & np.isin(index.value[row], (CALLED, YIELDED))
    yield _wait(names.number("wait: caller"), of[left], index.end[row[left]], index.start[following[left]])
    yield from _thread_pool(index, names, asked)
    of, put = index.by_request("output.deliver").under(asked.delivered)
    taken = _next(of, index.end[put], calls[0], index.start[calls[1]])
    known = taken >= 0
    entered = index.start[calls[1][taken[known]]]
    yield _wait(names.number("wait: event loop"), of[known], index.end[put[known]], entered)


def _next(of: Rows, at: Rows, later_of: Rows, later: Rows) -> Rows:
    """By moment of a request the place of the first of its later ones that is not before it; -1 for none."""
    both = np.concatenate((of, later_of))
    order = np.lexsort((np.repeat((0, 1), (len(of), len(later_of))), np.concatenate((at, later)), both))
    is_later = order >= len(of)
    place = np.where(is_later, order - len(of), np.iinfo(np.int64).max)
    number = np.where(is_later, np.arange(len(order)), len(order))
    following = np.minimum.accumulate(number[::-1])[::-1]
    taken = np.append(place, -1)[following]
    result = np.full(len(both), -1, dtype=np.int64)
    result[order] = taken
    result = result[: len(of)]
    return np.where((result >= 0) & (np.append(later_of, -1)[result] == of), result, -1)


def _thread_pool(index: Index, names: Names, asked: Requests) -> Iterator[Intervals]:
    """Tokenization in another thread: until it begins, and until the event loop takes its result."""
    own = _inside(index, asked, _at(index, asked.named, "async.add_request", "input.process"))
    adding, work = _at(index, own, "async.add_request"), _first(_at(index, own, "input.process"))
    added = _first(adding)
    of, here, there = np.intersect1d(work[0], added[0], assume_unique=True, return_indices=True)
    apart = index.thread[work[1][here]] != index.thread[added[1][there]]
    of, row = of[apart], work[1][here][apart]
    at = np.full(len(asked.flows), -1, dtype=np.int64)
    at[of] = row
    pooled = at[adding[0]] >= 0
    of_adding, adding_row, own_work = adding[0][pooled], adding[1][pooled], at[adding[0][pooled]]
    before = (index.value[adding_row] == SUSPENDED) & (index.end[adding_row] <= index.start[own_work])
    left = _last((of_adding[before], adding_row[before]))
    yield _between(index, names.number("wait: thread pool"), left, (of, row))
    after = index.start[adding_row] >= index.end[own_work]
    yield _between(index, names.number("wait: event loop"), (of, row), (of_adding[after], adding_row[after]))


def _last(pairs: Pairs) -> Pairs:
    tail = np.diff(pairs[0], append=-1) != 0
    return pairs[0][tail], pairs[1][tail]


def _sorted(pairs: Pairs) -> Pairs:
    order = np.lexsort((pairs[1], pairs[0]))
    return pairs[0][order], pairs[1][order]


def _way_in(index: Index, names: Names, asked: Requests, schedules: Pairs) -> Iterator[Intervals]:
    """The socket, the input queue, the scheduler's queue, and KV blocks of another engine."""
    sent, received, preprocessed, dequeued, added, looks = (
        index.by_request(*sites).under(asked.internal) for sites in (SENDING, *((site,) for site in IN_THE_CORE))
    )
    yield _between(index, names.number("wait: socket in"), sent, received)
    yield _between(index, names.number("wait: input queue"), preprocessed, dequeued)
    (of, first), (_, last) = _first(looks), _last(looks)
    remote = (first != last) & (index.value[last] > 0)
    yield _wait(names.number("wait: remote KV"), of[remote], index.end[first[remote]], index.start[last[remote]])
    queue = _between(index, names.number("wait: scheduler queue"), added, _leaving(index, asked, schedules))
    yield queue
    kept = queued(index, Stays(queue.of, asked.core[queue.of], queue.start, queue.end), looks)
    part = {code: names.number(wait_name(code)) for code in np.unique(kept.reason).tolist()}
    yield _wait(np.array([part[code] for code in kept.reason.tolist()], dtype=np.int64), kept.of, *kept[2:])


def _leaving(index: Index, asked: Requests, schedules: Pairs) -> Pairs:
    """What takes requests out of the queue: the scheduling of each one's first step, or, of one that was never
    scheduled, its abortion."""
    of, row = index.by_request("scheduler.free").under(asked.internal)
    gave_up = np.array([given_up(flow) for flow in asked.flows], dtype=bool)[of]
    both = zip(_first(schedules), (of[gave_up], row[gave_up]), strict=True)
    scheduled_of, scheduled = (np.concatenate(column) for column in both)
    return _sorted((scheduled_of, scheduled))


def _schedules(index: Index, asked: Requests) -> Pairs:
    """The scheduling of each request's steps."""
    of, step = asked_steps(asked, np.arange(len(asked.flows)))
    listed = []
    for core in np.unique(asked.core).tolist():
        here = asked.core[of] == core
        numbers, rows = index.by_step("scheduler.schedule", core)
        first, last = (np.searchsorted(numbers, step[here], side) for side in ("left", "right"))
        which, place = expanded(first, last)
        listed.append((of[here][which], rows[place]))
    return _sorted(tuple(np.concatenate(column) for column in zip(*listed, strict=True))) if listed else (of, step)


def _steps(index: Index, names: Names, asked: Requests, schedules: Pairs) -> Iterator[Intervals]:
    """Steps without the request between two of its own, and before each run of them the wait for earlier steps."""
    of, row = schedules
    follows = np.diff(of, append=-1) == 0
    step, then = index.step[row], np.append(index.step[row][1:], -1)
    left = np.flatnonzero(follows & (then > step + 1))
    updated = _with_step(index, "scheduler.update", asked.core[of[left]], step[left])
    left, updated = left[updated >= 0], updated[updated >= 0]
    start, end = index.end[updated], index.start[row[left + 1]]
    cut = _any_between(index, asked, of[left], index.start[row[left]], end)
    part = np.where(cut, names.number("wait: preempted"), names.number("wait: not scheduled"))
    yield _wait(part, of[left], start, end)
    yield _earlier(index, names, asked, schedules)


def _earlier(index: Index, names: Names, asked: Requests, schedules: Pairs) -> Intervals:
    """Before each run of steps: until those before it are through, of which the last is none of the request's own."""
    own_of, own = asked_steps(asked, np.arange(len(asked.flows)))
    of, row = schedules
    width = int(own.max(initial=0)) + 2
    step, following = of * width + index.step[row], own_of * width + own + 1  # both ascend
    begins = np.append(following, -1)[np.searchsorted(following, step)] != step
    of, row, through = of[begins], row[begins], np.full(np.count_nonzero(begins), -1, dtype=np.int64)
    for core in np.unique(asked.core).tolist():
        mine, ends = asked.core[of] == core, index.update_ends(core)
        through[mine] = [ends.get(before, (0, -1))[1] for before in (index.step[row[mine]] - 1).tolist()]
    return intervals(of, names.number("wait: earlier step"), EARLIER, index.start[row], through, LOOPS)


def _with_step(index: Index, site: str, cores: Rows, steps: Rows) -> Rows:
    rows = np.full(len(steps), -1, dtype=np.int64)
    for core in np.unique(cores).tolist():
        rows[cores == core] = index.last_with(site, core, steps[cores == core])
    return rows


def _any_between(index: Index, asked: Requests, of: Rows, start: Rows, end: Rows) -> Rows:
    """Whether each request was preempted between two moments, both of them counted."""
    preempted_of, preempted = index.by_request("scheduler.preempt").under(asked.internal)
    at = index.start[preempted]
    nearest = _next(of, start, preempted_of, at)
    return np.asarray((nearest >= 0) & (np.append(at, np.iinfo(np.int64).max)[nearest] <= end))
