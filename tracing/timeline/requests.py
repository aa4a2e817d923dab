"""Each request of a trace: when it began and ended, how it ended, its steps and messages, and what is missing of it.

A request begins with the caller's call. It ends with the stretch of `AsyncLLM.generate` that yielded its finished
output. `LLM.generate` has no yields and returns when the last of its batch is done, which says nothing about the
others: there a request ends with the `process_outputs` that handled its last message. One that was aborted ends when
the last process let go of it. With n > 1 the children are the requests; all begin with their parent's call and end with
its last yield.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Literal

import numpy as np
import pandas as pd

from tracing.events import pinned
from tracing.events.layout import CALLED, ENDED, YIELDED
from tracing.events.pinned import PinnedRequest
from tracing.timeline.columns import RequestRow
from tracing.timeline.index import Index
from tracing.timeline.lookups.rows import Rows

State = Literal["finished", "stopped", "aborted", "refused", "cut"]
STOPPED = ("FINISHED_STOPPED", "FINISHED_REPETITION")
ABORTED = ("FINISHED_ABORTED", "FINISHED_ERROR")
NO_START = ("the start of it",)  # what is missing of a request that ran already when the recording began
NO_END = ("the end of it",)
NEVER_NS = 1 << 62


@dataclass(frozen=True, eq=False)
class Flow:
    """One request. `request` is its internal id, or the caller's where it was refused before it got one.

    `steps` are the numbers of the steps it was scheduled in, `keys` those of the messages that these sent to its front
    end. `output_tokens` is what the core generated, `delivered_tokens` what reached the caller, who may have left or
    have asked for a stop string. `call` is the number of its `AsyncLLM.generate`, 0 for none. `missing` names the sites
    that a whole flow would have; it is empty unless the flow was cut.
    """

    request: str
    external: str
    parent: str | None
    front_pid: int
    core_pid: int
    start_ns: int
    end_ns: int
    state: State
    missing: tuple[str, ...]
    output_tokens: int
    prompt_tokens: int
    steps: Rows = field(repr=False)
    keys: Rows = field(repr=False)
    delivered_tokens: int = 0
    call: int = 0

    @property
    def latency_ns(self) -> int:
        return self.end_ns - self.start_ns

    @property
    def is_whole(self) -> bool:
        """Whether it was recorded from its call to its end."""
        return self.state not in ("cut", "refused")

    @property
    def is_complete(self) -> bool:
        """Whether its caller had all of its output."""
        return self.state in ("finished", "stopped")

    @property
    def names(self) -> tuple[str, ...]:
        """The ids under which its spans go."""
        return tuple(dict.fromkeys(name for name in (self.request, self.parent, self.external) if name))


def flows(index: Index) -> list[Flow]:
    """Every request of a trace, by start; those that were refused before they got an internal id too."""
    timeline = index.timeline
    origins = {row.internal: (int(row.pid), row.external) for row in timeline.renamed.itertuples()}
    parents = {row.child: row.parent for row in timeline.children.itertuples()}
    ids = [name for name in (*origins, *parents) if name not in parents.values()]
    served = [_flow(index, name, parents.get(name), *origins.get(parents.get(name, name), (0, ""))) for name in ids]
    starts = {(flow.front_pid, flow.start_ns) for flow in served}
    served = [*_begun_before(index, served), *_refused(index, starts)]
    return sorted(served, key=lambda flow: (flow.start_ns, flow.request))


def _begun_before(index: Index, served: list[Flow]) -> list[Flow]:
    """The requests, cut where they began before the recording; with those of which only the steps were seen.

    Where the beginning of one was not seen, it is what the core wrote down of it, else that of the recording.
    """
    first_ns = max((process.first_ns for process in index.timeline.processes), default=0)
    if not first_ns:
        return served
    known = {flow.request for flow in served}
    scheduled = [str(name) for name in index.timeline.batches["request"].unique() if name]
    unseen = [_flow(index, name, None, 0, "") for name in scheduled if name not in known]
    late = [flow for flow in served if flow.start_ns >= first_ns]
    early = [*unseen, *(flow for flow in served if flow.start_ns < first_ns)]
    pins = pinned.read(index.timeline.folder)
    return [*late, *(_cut_at_start(flow, pins.get(flow.request), first_ns) for flow in early)]


def _cut_at_start(flow: Flow, pin: PinnedRequest | None, first_ns: int) -> Flow:
    cut = replace(flow, state="cut", missing=NO_START, start_ns=flow.start_ns or first_ns)
    if pin is None:
        return cut
    return replace(cut, start_ns=min(pin.begin_ns, cut.start_ns), prompt_tokens=cut.prompt_tokens or pin.prompt_tokens)


def frame(requests: list[Flow]) -> pd.DataFrame:
    """Requests as a table with the columns of `columns.RequestRow`."""
    rows = [
        RequestRow(
            request=flow.request,
            external_request=flow.external,
            parent=flow.parent or "",
            state=flow.state,
            missing=", ".join(flow.missing),
            start_ns=flow.start_ns,
            end_ns=flow.end_ns,
            latency_ns=flow.latency_ns,
            prompt_tokens=flow.prompt_tokens,
            output_tokens=flow.output_tokens,
            delivered_tokens=flow.delivered_tokens,
            step_count=len(flow.steps),
            front_pid=flow.front_pid,
            core_pid=flow.core_pid,
        )
        for flow in requests
    ]
    return pd.DataFrame(rows, columns=[field.name for field in fields(RequestRow)])


def _flow(index: Index, name: str, parent: str | None, front_pid: int, external: str) -> Flow:
    given = index.first_row(parent or name, "input.assign_id")
    assigned = int(index.start[given]) if given >= 0 else 0
    number, call = _call(index, external, front_pid, assigned)
    core_pid, steps = index.steps_of(name)
    keys = index.sent.keys_of_steps(core_pid, steps, front_pid)
    freed, admitted = index.last_row(name, "scheduler.free"), index.first_row(name, "core.add_request")
    status = index.timeline.texts.get((core_pid, int(index.extra[freed])), "") if freed >= 0 else ""
    stop = index.stopped.get(name)
    end = _end(index, call, front_pid, keys, name, status, stop)
    missing = _missing(index, name, front_pid, core_pid, status, end is None)
    return Flow(
        request=name,
        external=external,
        parent=parent,
        front_pid=front_pid,
        core_pid=core_pid,
        start_ns=_start(index, call, front_pid, assigned),
        end_ns=_last_seen(index, name, call, assigned) if end is None else end,
        state="cut" if missing else "stopped" if stop else _state(status),
        missing=missing,
        output_tokens=int(index.value[freed]) if freed >= 0 else len(keys),
        prompt_tokens=int(index.value[admitted]) if admitted >= 0 else 0,
        steps=steps,
        keys=keys,
        delivered_tokens=_delivered(index, name, call, front_pid, keys, stop, status),
        call=number,
    )


def stretches(index: Index, external: str, front_pid: int, site: str = "async.generate") -> tuple[Rows, Rows]:
    """The stretches of all calls with one id in a process, and the number of the call that each belongs to."""
    rows, calls = index.calls(site).under(index.number_of(external))
    here = index.pid[rows] == front_pid
    return rows[here], calls[here]


def call_rows(index: Index, external: str, front_pid: int, call: int) -> Rows:
    """The stretches of one call of `AsyncLLM.generate`."""
    rows, calls = stretches(index, external, front_pid)
    return rows[calls == call]


def _call(index: Index, external: str, front_pid: int, at: int) -> tuple[int, Rows]:
    """The number of the `AsyncLLM.generate` call inside which a request got its id, and its stretches; 0 for `LLM`."""
    rows, calls = stretches(index, external, front_pid)
    before = np.flatnonzero(index.start[rows] <= at)
    around = before[index.end[rows[before]] >= at]
    which = around if len(around) else before
    number = int(calls[which[-1]]) if len(which) else 0
    return number, rows[calls == number]


def _start(index: Index, call: Rows, front_pid: int, assigned: int) -> int:
    """The call, or `LLM.generate` around the moment at which the request got its id, or `add_request` around it."""
    if len(call):
        return int(index.start[call[0]])
    for site in ("llm.generate", "llm.add_request"):
        rows = index.at(site)
        rows = rows[(index.pid[rows] == front_pid) & (index.start[rows] <= assigned) & (index.end[rows] >= assigned)]
        if len(rows):
            return int(index.start[rows[-1]])
    return assigned


def _last_seen(index: Index, name: str, call: Rows, assigned: int) -> int:
    """When the last of its spans ended, of a request without an end."""
    return max(assigned, int(index.end[np.concatenate((index.rows(name), call))].max(initial=0)))


def _end(index: Index, call: Rows, front_pid: int, keys: Rows, name: str, status: str, stop: int | None) -> int | None:
    """When the caller had the last of it; None where that was not recorded.

    `stop` is the key of the message in which the front end found a stop string: what comes later is thrown away.
    """
    if stop is not None and not len(call):
        handled = index.with_step("output.process", front_pid, np.array([stop]))
        return int(index.end[handled].max()) if len(handled) else None
    if stop is not None:
        status = ""
    if status in ABORTED:
        own = index.rows(name)
        return int(index.end[own].max())  # a caller that left sees no end: it is over when the core let go of it
    if len(call):
        value, extra = index.value[call], index.extra[call]
        last = call[((value == YIELDED) & (extra & 1 == 1)) | (value == ENDED)]
        return int(index.end[last[0]]) if len(last) else None
    handled = index.with_step("output.process", front_pid, keys)
    if not len(keys):
        return None
    done = np.isin(keys, index.step[handled]).all() and bool(status)
    return int(index.end[handled].max()) if done else None


def _delivered(index: Index, name: str, call: Rows, front_pid: int, keys: Rows, stop: int | None, status: str) -> int:
    """The tokens that reached the caller, one a step: those generated, without steps whose message came too late.

    Too late is after the message with the stop string, or after the caller's last yield. `LLM.generate` hands over all
    at its return: a caller that was killed before got none. An abort may come while a step runs: the count of generated
    tokens that `scheduler.free` gives holds only what was updated before.
    """
    core_pid, steps = index.steps_of(name)
    freed = index.last_row(name, "scheduler.free")
    if not len(call) and stop is None and not (status and status not in ABORTED):
        return 0
    yields = call[index.value[call] == YIELDED]
    until = NEVER_NS if stop is not None or not len(call) else int(index.end[yields[-1]]) if len(yields) else 0
    last = _last_in_time(index, core_pid, front_pid, keys if stop is None else keys[keys <= stop], until)
    in_time = int(np.searchsorted(steps, last, side="right"))
    if freed < 0:
        return max(in_time - index.chunks(name), 0)
    updates = index.with_step("scheduler.update", core_pid, steps[in_time:])
    late = int(np.count_nonzero(index.start[updates] <= index.start[freed]))
    return max(int(index.value[freed]) - late, 0)


def _last_in_time(index: Index, core_pid: int, front_pid: int, keys: Rows, until: int) -> int:
    """The last step whose message, of some by step, had been handled by some time; -1 for none."""
    handled = index.handled(front_pid)
    in_time = (key for key in reversed(keys.tolist()) if key in handled and handled[key] <= until)
    return index.sent.step_of_key(core_pid).get(next(in_time, -1), -1)


def _state(status: str) -> State:
    return "stopped" if status in STOPPED else "aborted" if status in ABORTED else "finished"


def _missing(index: Index, name: str, front_pid: int, core_pid: int, status: str, endless: bool) -> tuple[str, ...]:
    """What a whole flow of this layout would have and this has not. One aborted early may have no steps."""
    scheduled = len(index.steps_of(name)[1]) > 0
    there = {
        "core.add_request": index.first_row(name, "core.add_request") >= 0,
        "scheduler.schedule": scheduled or status in ABORTED,
        "scheduler.free": bool(status),
        "core.receive": front_pid == core_pid or index.first_row(name, "core.receive") >= 0,
        NO_END[0]: not endless,
    }
    return tuple(site for site, present in there.items() if not present)


def _refused(index: Index, begun: set[tuple[int, int]]) -> list[Flow]:
    """Calls that ended in an exception before the request got an id of its own; one that goes on without one is cut."""
    flows = []
    for site in ("async.generate", "llm.add_request"):
        rows = index.at(site)
        rows = rows[index.value[rows] == CALLED if site == "async.generate" else index.raised[rows]]
        for row in rows:
            start, pid, name = int(index.start[row]), int(index.pid[row]), index.name(row)
            if (pid, start) in begun:
                continue
            call = np.array([row])
            if site == "async.generate":
                rows_of_id, calls = stretches(index, name, pid)
                call = call_rows(index, name, pid, int(calls[rows_of_id == row][0]))
            ended = call[index.raised[call]]
            end = int(index.end[ended[-1]]) if len(ended) else int(index.end[call].max())
            state: State = "refused" if len(ended) else "cut"
            none = np.zeros(0, dtype=np.int64)
            missing = () if len(ended) else ("input.assign_id", *NO_END)
            flows.append(Flow(name, name, None, pid, 0, start, end, state, missing, 0, 0, none, none))
    return flows
