"""The named waits of a request: each lies between two recorded events that belong together by request, step or key.

None is the complement of something. Where one of its two events was not recorded there is no such wait.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tracing.breakdown.requests.queued import Stays, given_up, queued
from tracing.events.layout import CALLED, SUSPENDED, YIELDED
from tracing.timeline.index import Index
from tracing.timeline.lookups.rows import Rows
from tracing.timeline.requests import Flow, call_rows
from tracing.timeline.requestspans import named, rendered
from tracing.timeline.steps.heldback import wait_name

CALLER = "wait: caller"


class Wait(NamedTuple):
    """A wait and the rows of the two spans that bound it: the earlier one's time of leaving, the later one's start."""

    name: str
    start_ns: int
    end_ns: int
    after: int
    before: int


def waits(index: Index, flow: Flow) -> Iterator[Wait]:
    """All waits of a request, of positive length."""
    for wait in (*_front_end(index, flow), *_core(index, flow), *_messages(index, flow)):
        if wait.end_ns > wait.start_ns:
            yield wait


def _between(index: Index, name: str, after: Rows, before: Rows) -> Iterator[Wait]:
    """From the end of the last of `after` to the start of the first of `before`."""
    if len(after) and len(before):
        first, second = int(after[np.argmax(index.end[after])]), int(before[0])
        yield Wait(name, int(index.end[first]), int(index.start[second]), first, second)


def _front_end(index: Index, flow: Flow) -> Iterator[Wait]:
    """Waiting for a turn in `LLM.generate`, for the caller, the thread pool, and the event loop."""
    inside = (flow.start_ns, flow.end_ns)
    accept = _within(index, index.rows(flow.external, "llm.add_request"), flow.front_pid, inside)
    if len(accept):
        first = int(rendered(index, accept[:1])[0])
        for frame in index.at("llm.generate"):
            if index.start[frame] == flow.start_ns and index.pid[frame] == flow.front_pid:
                yield Wait("wait: turn in generate", flow.start_ns, int(index.start[first]), int(frame), first)
    calls = _within(index, call_rows(index, flow.external, flow.front_pid, flow.call), flow.front_pid, inside)
    for left, entered in itertools.pairwise(calls):
        if index.value[left] in (CALLED, YIELDED):
            yield Wait(CALLER, int(index.end[left]), int(index.start[entered]), int(left), int(entered))
    yield from _thread_pool(index, flow, inside)
    name = flow.parent or flow.request
    for put in index.rows(name, "output.deliver"):
        before, later = calls[index.end[calls] <= index.end[put]], calls[index.start[calls] >= index.end[put]]
        if (
            len(later) and not (index.value[before[-1:]] == YIELDED).any()
        ):  # else the caller is away, and has not asked for it
            yield from _between(index, "wait: event loop", np.array([put]), later)


def _thread_pool(index: Index, flow: Flow, inside: tuple[int, int]) -> Iterator[Wait]:
    """Tokenization in another thread: until it begins, and until the event loop takes its result."""
    _, rows = named(index, [flow])
    own = _within(index, rows, flow.front_pid, inside)
    adding, work = (own[index.site(own) == site] for site in ("async.add_request", "input.process"))
    work = work[:1] if len(adding) and len(work) and index.thread[work[0]] != index.thread[adding[0]] else work[:0]
    if len(work):
        left = adding[(index.value[adding] == SUSPENDED) & (index.end[adding] <= index.start[work[0]])]
        yield from _between(index, "wait: thread pool", left[-1:], work)
        yield from _between(index, "wait: event loop", work, adding[index.start[adding] >= index.end[work[0]]])


def _core(index: Index, flow: Flow) -> Iterator[Wait]:
    """On the way in: the socket, the input queue and the scheduler's queue; later, steps without the request."""
    own = {
        site: index.rows(flow.request, site)
        for site in ("core.receive", "core.preprocess", "core.dequeue", "core.add_request", "scheduler.preempt")
    }
    sent = index.rows(flow.request, "client.send", "client.send_async")
    yield from _between(index, "wait: socket in", sent, own["core.receive"])
    yield from _between(index, "wait: input queue", own["core.preprocess"], own["core.dequeue"])
    schedules = index.with_step("scheduler.schedule", flow.core_pid, flow.steps)
    leaving = index.rows(flow.request, "scheduler.free") if given_up(flow) else schedules
    for wait in _between(index, "wait: scheduler queue", own["core.add_request"], leaving):
        yield from (wait, *_queued(index, flow, wait))
    yield from _remote(index, index.rows(flow.request, "kv.remote_wait"))
    updates = index.with_step("scheduler.update", flow.core_pid, flow.steps)
    ended = dict(zip(index.step[updates].tolist(), updates.tolist(), strict=True))
    preempted = index.start[own["scheduler.preempt"]]
    for row, following in itertools.pairwise(schedules):
        step, then = int(index.step[row]), int(index.step[following])
        if then > step + 1 and step in ended:
            start, end = int(index.end[ended[step]]), int(index.start[following])
            cut = ((preempted >= index.start[row]) & (preempted <= end)).any()
            yield Wait("wait: preempted" if cut else "wait: not scheduled", start, end, ended[step], int(following))


def _queued(index: Index, flow: Flow, wait: Wait) -> Iterator[Wait]:
    """What kept it in the queue, from one call of the scheduler to another."""
    stay = Stays(*(np.array([each], dtype=np.int64) for each in (0, flow.core_pid, wait.start_ns, wait.end_ns)))
    looks = index.rows(flow.request, "kv.remote_wait")
    kept = queued(index, stay, (np.zeros(len(looks), dtype=np.int64), looks))
    _, schedules = index.by_step("scheduler.schedule", flow.core_pid)
    bounds = np.append(schedules[index.start[schedules] < wait.end_ns], wait.before)
    places = (bounds[np.searchsorted(index.start[bounds], edge)] for edge in (kept.start, kept.end))
    for reason, start, end, *rows in zip(*(column.tolist() for column in (*kept[1:], *places)), strict=True):
        yield Wait(wait_name(reason), start, end, *rows)


def _remote(index: Index, looks: Rows) -> Iterator[Wait]:
    """For KV blocks of another engine: from the scheduler's first look at the request to the one that found them."""
    if len(looks) > 1 and index.value[looks[-1]] > 0:
        first, last = int(looks[0]), int(looks[-1])
        yield Wait("wait: remote KV", int(index.end[first]), int(index.start[last]), first, last)


def _messages(index: Index, flow: Flow) -> Iterator[Wait]:
    """On the way back, by message: the output queue, the socket, and the front end's queue or event loop."""
    updates = index.with_step("scheduler.update", flow.core_pid, flow.steps)
    encoded = index.with_step("core.encode", flow.core_pid, flow.keys)
    sends = _by_key(index, index.with_step("core.send", flow.core_pid, flow.keys))
    received = _by_key(index, index.with_step("client.receive", flow.front_pid, flow.keys))
    handled = _by_key(index, index.with_step("output.process", flow.front_pid, flow.keys))
    by_step = dict(zip(index.step[updates].tolist(), updates.tolist(), strict=True))
    step_of = index.sent.step_of_key(flow.core_pid)
    encodes = _by_key(index, encoded)
    for key in flow.keys.tolist():
        update, encode = by_step.get(step_of.get(key, -1)), encodes.get(key)
        send, receive, process = sends.get(key, encode), received.get(key), handled.get(key)
        queue = "wait: event loop"
        if receive is not None and process is not None and index.thread[receive] != index.thread[process]:
            queue = "wait: front-end queue"
        for name, after, before in (
            ("wait: output queue", update, encode),
            ("wait: socket out", send, receive),
            (queue, receive, process),
        ):
            if after is not None and before is not None:
                yield Wait(name, int(index.end[after]), int(index.start[before]), after, before)


def _by_key(index: Index, rows: Rows) -> dict[int, int]:
    """The first row of each key."""
    return dict(zip(index.step[rows][::-1].tolist(), rows[::-1].tolist(), strict=True))


def _within(index: Index, rows: Rows, pid: int, inside: tuple[int, int]) -> Rows:
    return rows[(index.pid[rows] == pid) & (index.start[rows] >= inside[0]) & (index.end[rows] <= inside[1])]
