"""Which spans belong to a request: the one answer of budgets, walks and the notes."""

from __future__ import annotations

import numpy as np

from tracing.timeline.index import Index
from tracing.timeline.intervals import contains, union
from tracing.timeline.lookups.rows import Rows, picked
from tracing.timeline.requests import Flow, call_rows, stretches


def own_rows(index: Index, flow: Flow) -> Rows:
    """By start: the spans under a request's ids, and those of its steps and messages that name no other request.

    Spans that only enclose others are among them where they carry a step.
    """
    rows = carried(index, flow)
    names = {"", *flow.names}
    unnamed = np.array([index.name(row) in names for row in rows.tolist()], dtype=bool)
    own = named(index, flow)
    accepts = own[index.site(own) == "llm.add_request"]
    prompts = np.array([rendered(index, int(row)) for row in accepts], dtype=np.int64)
    return np.unique(np.concatenate([own, rows[unnamed], prompts]))


def carried(index: Index, flow: Flow) -> Rows:
    """The spans of a request's steps in its core and workers, and those of its messages, for whomever; by start."""
    stepped = picked(index.stepped[flow.core_pid], flow.steps) if flow.core_pid in index.stepped else flow.steps[:0]
    return np.union1d(stepped, picked(index.keyed, flow.keys))


def named(index: Index, flow: Flow) -> Rows:
    """The spans under a request's ids in its time; of calls with the caller's id only those of its own call."""
    rows = np.unique(np.concatenate([index.rows(name) for name in flow.names]))
    rows = rows[(index.start[rows] >= flow.start_ns) & (index.start[rows] < flow.end_ns)]
    foreign = [_of_other_calls(index, flow, site) for site in ("async.generate", "async.add_request", "input.process")]
    return np.setdiff1d(rows, np.concatenate(foreign))


def _of_other_calls(index: Index, flow: Flow, site: str) -> Rows:
    """The spans of a site under the caller's id that other calls with this id made."""
    rows, calls = stretches(index, flow.external, flow.front_pid)
    if len(np.unique(calls)) < 2:
        return rows[:0]
    if site == "async.generate":
        return rows[calls != flow.call]
    mine = call_rows(index, flow.external, flow.front_pid, flow.call)
    inside = union(index.start[mine], index.end[mine] + 1)
    adding, numbers = stretches(index, flow.external, flow.front_pid, "async.add_request")
    own = np.unique(numbers[contains(inside, index.start[adding])])
    if site == "async.add_request":
        return adding[~np.isin(numbers, own)]
    # Prompts are tokenized in the order in which their calls came.
    work = index.rows(flow.external, site)
    work = work[index.pid[work] == flow.front_pid]
    order = list(dict.fromkeys(numbers.tolist()))
    return np.array([row for row, number in zip(work.tolist(), order, strict=False) if number not in own], np.int64)


def rendered(index: Index, accept: int) -> int:
    """The tokenization of an `llm.add_request`'s prompt, which comes right before it on its thread; else itself."""
    rows = index.at("llm.render")
    thread = index.threads(np.array([accept]))
    rows = rows[(index.threads(rows) == thread) & (index.end[rows] <= index.start[accept])]
    if not len(rows):
        return accept
    others = index.at("llm.add_request")
    others = others[index.threads(others) == thread]
    others = others[(index.start[others] > index.start[rows[-1]]) & (index.start[others] < index.start[accept])]
    return accept if len(others) else int(rows[-1])
