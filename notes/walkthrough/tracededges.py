"""Edges held against the flows of a trace.

An edge holds in a flow when both its ends are in that flow, each in its role and thread, in order: what is called
runs inside the caller; what is sent to begins after the sender began, on another thread, in the same step where both
have one; what comes then begins after it on the same thread.
"""

from __future__ import annotations

import numpy as np

from notes.walkthrough.edges import Edge, Evidence
from tracing.sites.site import Site
from tracing.timeline.index import Index
from tracing.timeline.lookups.rows import Rows
from tracing.timeline.requests import Flow, flows
from tracing.timeline.requestspans import own_rows
from tracing.timeline.spans import Timeline

# The thread of a role, as part of its name. The others have several: a stop says which, where that matters.
THREADS = {"core": "MainThread", "core input": "process_input_sockets", "core output": "process_output_sockets"}
TOUCHED = ("kv.allocate", "scheduler.preempt")  # in steps that did not schedule the request: they refused or evicted it
FRAMES = ("llm.generate", "llm.step")  # of the front end, around calls that name no request
FRONT = ("front end", "core output")  # spans there carry the key of a message, the others that of a step


class Trace:
    """The flows of a timeline, with the spans that belong to each; `name` is the trace's in what is said of it."""

    def __init__(self, timeline: Timeline, name: str) -> None:
        self.name = name
        self.index = Index(timeline)
        self.flows = [flow for flow in flows(self.index) if flow.is_whole]
        self.threads = [str(name) for name in self.index.timeline.spans["thread_name"]]
        self.serves = _serves(self.index.timeline)
        self._frames = [row for site in FRAMES for row in self.index.at(site).tolist()]
        self._spans: dict[str, Rows] = {}
        self._steps = {pid: self.index.sent.step_of_key(pid) for pid in {flow.core_pid for flow in self.flows}}

    def hold(self, edge: Edge, evidence: Evidence) -> None:
        """Add to `evidence` what every flow of this trace says of an edge."""
        ends = edge.ends
        if ends is None:
            return
        sites = {end.name for end in ends if len(self.index.at(end.name))}
        evidence.sites |= sites
        for flow in self.flows:
            left, right = (self.of_flow(flow, end.name) for end in ends)
            if not len(left) or not len(right):
                continue
            problem = self._problem(edge, ends, flow, left.tolist(), right.tolist())
            where = f"{self.name}, request {flow.request}"
            if problem:
                evidence.against.append(f"{where}: {problem}")
            elif apart := self._apart(edge, ends, flow, left.tolist(), right.tolist()):
                evidence.apart.append(f"{where}: {apart}")
            else:
                evidence.flows += 1
                evidence.seen_in += [self.name] if self.name not in evidence.seen_in else []
        both = len(sites) == len(ends)
        if self.flows and both and not evidence.flows and not evidence.against and not evidence.apart:
            evidence.against.append(f"{self.name}: {ends[0].name} and {ends[1].name} were never in one flow")

    def of_flow(self, flow: Flow, site: str) -> Rows:
        """The rows of a site that belong to a flow: by its ids, by its steps and messages, or, where a span has none of
        these, because it encloses such a span of the front end, or is inside a frame that does."""
        index = self.index
        pids = {flow.front_pid, *(pid for pid, core in index.cores.items() if core == flow.core_pid)}
        own = self._own(flow)
        own = own[index.site(own) == site]
        numbers = np.concatenate([index.step[index.rows(name, *TOUCHED)] for name in flow.names])
        touched = [row for pid in pids for row in index.with_step(site, pid, numbers) if not index.name(row)]
        rows = index.at(site)
        unnamed = [
            row for row in rows[(index.step[rows] < 0) & (index.pid[rows] == flow.front_pid)] if not index.name(row)
        ]
        around = self._around(flow, unnamed) if unnamed else []
        return np.array(sorted({*own.tolist(), *touched, *around}), dtype=np.int64)

    def _own(self, flow: Flow) -> Rows:
        """The spans that belong to a flow, worked out once."""
        if flow.request not in self._spans:
            self._spans[flow.request] = own_rows(self.index, flow)
        return self._spans[flow.request]

    def _around(self, flow: Flow, rows: list[int]) -> list[int]:
        members = self._members(flow)
        enclosing = [row for row in self._frames if self._holds_one(row, members)]
        return [row for row in rows if self._holds_one(row, members) or any(self._inside(row, f) for f in enclosing)]

    def _members(self, flow: Flow) -> dict[tuple[int, int], Rows]:
        """When the spans with a flow's ids or messages began, by thread of its front end; sorted."""
        index = self.index
        front = np.flatnonzero((index.pid == flow.front_pid) & np.isin(index.step, flow.keys))
        named = [row for name in flow.names for row in index.rows(name) if index.pid[row] == flow.front_pid]
        by_thread: dict[tuple[int, int], list[int]] = {}
        for row in (*front.tolist(), *named):
            by_thread.setdefault(self._thread(row), []).append(int(index.start[row]))
        return {thread: np.sort(np.array(starts, dtype=np.int64)) for thread, starts in by_thread.items()}

    def _holds_one(self, row: int, members: dict[tuple[int, int], Rows]) -> bool:
        starts = members.get(self._thread(row))
        if starts is None:
            return False
        return bool(starts.searchsorted(self.index.end[row], "right") > starts.searchsorted(self.index.start[row]))

    def _problem(self, edge: Edge, ends: tuple[Site, Site], flow: Flow, left: list[int], right: list[int]) -> str:
        """Why both ends in one flow do not make the edge, or nothing."""
        in_role = [row for row in left if self.in_role(row, edge.caller.role, edge.caller.thread)]
        if not in_role:
            return f"{ends[0].name} ran in {self._ran_in(left[0])}, not in the {self._claimed(edge)}"
        far = ends[1].role if edge.kind == "sends to" else edge.caller.role
        reached = [row for row in right if self.in_role(row, far, "")]
        if not reached:
            return f"{ends[1].name} ran in {self._ran_in(right[0])}, not in the {far}"
        return "" if edge.kind == "calls" else self._after(edge, ends, flow, in_role, reached)

    def _apart(self, edge: Edge, ends: tuple[Site, Site], flow: Flow, left: list[int], right: list[int]) -> str:
        """Why the far end was reached in another way here, or nothing."""
        callers = [row for row in left if self.in_role(row, edge.caller.role, edge.caller.thread)]
        if edge.kind == "calls" and not any(self._inside(inner, outer) for inner in right for outer in callers):
            return f"no {ends[1].name} inside a {ends[0].name} on its thread"
        pairs = self._pairs(flow, callers, right) if edge.kind == "sends to" else []
        shared = any(self._thread(one) == self._thread(other) for one, other in pairs)
        return f"{ends[1].name} and {ends[0].name} ran on one thread" if shared else ""

    def _after(self, edge: Edge, ends: tuple[Site, Site], flow: Flow, left: list[int], right: list[int]) -> str:
        if edge.kind == "then":  # of several workers each for itself
            return self._on_one_thread(ends, flow, left, right)
        return self._order(ends, self._pairs(flow, left, right))

    def _on_one_thread(self, ends: tuple[Site, Site], flow: Flow, left: list[int], right: list[int]) -> str:
        shared = {self._thread(row) for row in left} & {self._thread(row) for row in right}
        if not shared:
            return f"{ends[1].name} and {ends[0].name} ran on two threads"
        sides = ([[row for row in rows if self._thread(row) == thread] for rows in (left, right)] for thread in shared)
        return self._order(ends, [pair for both in sides for pair in self._pairs(flow, *both)])

    def _order(self, ends: tuple[Site, Site], pairs: list[tuple[int, int]]) -> str:
        """Why the rows of pairs do not begin one after the other, or nothing."""
        turned = any(self.index.start[other] < self.index.start[one] for one, other in pairs)
        return f"{ends[1].name} began before {ends[0].name}" if turned else ""

    def _pairs(self, flow: Flow, left: list[int], right: list[int]) -> list[tuple[int, int]]:
        """The first rows of both ends in each step that has both; of all where one end is passed once a request."""
        started, reached = self._firsts(flow, left), self._firsts(flow, right)
        both = started.keys() & reached.keys()
        return [(started[step], reached[step]) for step in both] or [(left[0], right[0])]

    def _firsts(self, flow: Flow, rows: list[int]) -> dict[int, int]:
        """The first row of each step, a message's step told by its key."""
        firsts: dict[int, int] = {}
        for row in rows:
            number = int(self.index.step[row])
            step = self._steps[flow.core_pid].get(number, -1) if self.index.role[row] in FRONT else number
            if step >= 0:
                firsts.setdefault(step, row)
        return firsts

    def in_role(self, row: int, role: str, thread: str) -> bool:
        """Whether a span ran in a process that serves a role, and on the thread of that role."""
        name = self.threads[row]
        return role in self.serves[int(self.index.pid[row])] and THREADS.get(role, "") in name and thread in name

    def _ran_in(self, row: int) -> str:
        serves = self.serves[int(self.index.pid[row])]
        return f"thread {self.threads[row]} of the {serves[0] if serves else 'unknown'} process"

    def _claimed(self, edge: Edge) -> str:
        return edge.caller.role + (f", thread {edge.caller.thread}" if edge.caller.thread else "")

    def _thread(self, row: int) -> tuple[int, int]:
        return int(self.index.pid[row]), int(self.index.thread[row])

    def _inside(self, inner: int, outer: int) -> bool:
        index = self.index
        within = index.start[outer] <= index.start[inner] and index.end[inner] <= index.end[outer]
        return bool(within) and self._thread(inner) == self._thread(outer)


def _serves(timeline: Timeline) -> dict[int, tuple[str, ...]]:
    return {process.pid: process.serves for process in timeline.processes}
