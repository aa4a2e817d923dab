"""Which spans belong to a request: the one answer of budgets, walks and the notes, for one request or for many."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from tracing.timeline.index import Index
from tracing.timeline.intervals import contains, distinct, union
from tracing.timeline.lookups.rows import Rows, picked
from tracing.timeline.requests import Flow, call_rows, stretches

Pairs = tuple[Rows, Rows]  # the place of a request among some, and a row


def own_rows(index: Index, flow: Flow) -> Rows:
    """By start: the spans under a request's ids, and those of its steps and messages that name no other request.

    Spans that only enclose others are among them where they carry a step.
    """
    rows = carried(index, flow)
    names = {"", *flow.names}
    unnamed = np.array([index.name(row) in names for row in rows.tolist()], dtype=bool)
    _, own = named(index, [flow])
    prompts = rendered(index, own[index.is_at(own, "llm.add_request")])
    return np.unique(np.concatenate([own, rows[unnamed], prompts]))


def carried(index: Index, flow: Flow) -> Rows:
    """The spans of a request's steps in its core and workers, and those of its messages, for whomever; by start."""
    stepped = picked(index.stepped[flow.core_pid], flow.steps) if flow.core_pid in index.stepped else flow.steps[:0]
    return np.union1d(stepped, picked(index.keyed, flow.keys))


def own_calls(index: Index, flows: Sequence[Flow]) -> Pairs:
    """The stretches of the call of `AsyncLLM.generate` that each of some requests came with, by both."""
    calls = index.calls("async.generate")
    of, place = calls.named.places(index.numbers_of(flow.external for flow in flows))
    row, number = calls.named.rows[place], calls.named_numbers[place]
    front, wanted = (np.array([getattr(flow, name) for flow in flows], np.int64) for name in ("front_pid", "call"))
    mine = (index.pid[row] == front[of]) & (number == wanted[of])
    return of[mine], row[mine]


def named(index: Index, flows: Sequence[Flow]) -> Pairs:
    """The spans under the ids of some requests in the time of each, by both; of calls with the caller's id only those
    of its own call."""
    start, end = (np.array([getattr(flow, name) for flow in flows], dtype=np.int64) for name in ("start_ns", "end_ns"))
    of, row = _under_their_ids(index, flows)
    own = (index.start[row] >= start[of]) & (index.start[row] < end[of])
    for place in _called_again(index, flows, of, row).tolist():
        mine = slice(*np.searchsorted(of, (place, place + 1)))
        own[mine] &= ~np.isin(row[mine], _of_other_calls(index, flows[place]))
    return of[own], row[own]


def _under_their_ids(index: Index, flows: Sequence[Flow]) -> Pairs:
    """The spans under any id of each request, at any time; by both."""
    names = [flow.names for flow in flows]
    place = np.repeat(np.arange(len(flows)), list(map(len, names)))
    which, row = index.by_request().under(index.numbers_of(itertools.chain.from_iterable(names)))
    return np.divmod(distinct(place[which] * len(index.start) + row), len(index.start))


def _called_again(index: Index, flows: Sequence[Flow], of: Rows, row: Rows) -> Rows:
    """The places of the requests whose caller gave their id to another call of the same front end too."""
    front = np.array([flow.front_pid for flow in flows], dtype=np.int64)
    here = index.is_at(row, "async.generate") & (index.pid[row] == front[of])
    of, row = of[here], row[here]
    another = np.diff(index.calls("async.generate").of(row)) != 0
    return np.unique(of[1:][another & (np.diff(of) == 0)])


def _of_other_calls(index: Index, flow: Flow) -> Rows:
    """The spans under the caller's id that other calls with this id made."""
    rows, calls = stretches(index, flow.external, flow.front_pid)
    mine = call_rows(index, flow.external, flow.front_pid, flow.call)
    inside = union(index.start[mine], index.end[mine] + 1)
    adding, numbers = stretches(index, flow.external, flow.front_pid, "async.add_request")
    own = np.unique(numbers[contains(inside, index.start[adding])])
    # Prompts are tokenized in the order in which their calls came.
    work = index.rows(flow.external, "input.process")
    work = work[index.pid[work] == flow.front_pid]
    order = np.array(list(dict.fromkeys(numbers.tolist())), dtype=np.int64)[: len(work)]
    others = work[: len(order)][~np.isin(order, own)]
    return np.concatenate([rows[calls != flow.call], adding[~np.isin(numbers, own)], others])


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
