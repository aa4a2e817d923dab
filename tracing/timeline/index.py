"""A timeline's spans as plain arrays, with the look-ups that requests, hops and budgets need."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracing.events.layout import CALLED
from tracing.timeline.contention import main_roles
from tracing.timeline.lookups.calls import CallStretches, call_numbers, call_stretches
from tracing.timeline.lookups.cutspans import CutSpans
from tracing.timeline.lookups.messages import SentMessages
from tracing.timeline.lookups.namedrows import NamedRows, named_rows
from tracing.timeline.lookups.rows import NONE, Rows, among, grouped
from tracing.timeline.lookups.schedules import RequestSchedule, schedules
from tracing.timeline.spans import Timeline
from tracing.timeline.steps.heldback import ReasonTimes, reason_times
from tracing.timeline.steps.workers import core_of

CATEGORIES = ("site", "stage", "role", "share", "request")  # columns whose texts are numbered


class Index:
    """Rows are numbered as in `timeline.spans`, by start; every look-up returns them in that order."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        spans = timeline.spans
        self.start: Rows = spans["start_ns"].to_numpy(dtype=np.int64)
        self.end: Rows = spans["end_ns"].to_numpy(dtype=np.int64)
        self.pid: Rows = spans["pid"].to_numpy(dtype=np.int64)
        self.thread: Rows = spans["thread"].to_numpy(dtype=np.int64)
        self.step: Rows = spans["step"].to_numpy(dtype=np.int64)
        self.value: Rows = spans["value"].to_numpy(dtype=np.int64)
        self.extra: Rows = spans["extra"].to_numpy(dtype=np.int64)
        self.raised = spans["raised"].to_numpy(dtype=bool)
        self._sites = grouped(spans["site"])
        self._codes = {name: spans[name].cat.codes.to_numpy() for name in CATEGORIES}
        self._numbers = {
            name: {str(text): code for code, text in enumerate(spans[name].cat.categories.tolist())}
            for name in self._codes
        }
        self._texts = {name: np.array([*self._numbers[name], ""], dtype=object) for name in self._codes}
        self.request_number, self.stage_number = self._codes["request"], self._codes["stage"]
        self.stages = list(self._numbers["stage"])

    def at(self, *sites: str) -> Rows:
        """The rows of some sites."""
        rows = [self._sites.get(site, NONE) for site in sites]
        return np.sort(np.concatenate(rows)) if len(rows) > 1 else rows[0]

    def rows(self, request: str | None, *sites: str) -> Rows:
        """The rows that name a request, of all sites or of some."""
        named = self.by_request(*sites)
        return named.rows[named.where(self.number_of(request or ""))]

    def by_request(self, *sites: str) -> NamedRows:
        """The rows of all sites, or of some, by request."""
        if sites not in self._by_request:
            rows = self.at(*sites) if sites else np.arange(len(self.start))
            self._by_request[sites] = named_rows(rows, self.request_number[rows], len(self._numbers["request"]))
        return self._by_request[sites]

    @cached_property
    def _by_request(self) -> dict[tuple[str, ...], NamedRows]:
        return {}

    def name(self, row: int) -> str:
        return str(self._texts["request"][self.request_number[row]])

    def site(self, rows: Rows) -> npt.NDArray[np.str_]:
        return self._texts["site"][self._codes["site"][rows]]

    def number_of(self, request: str) -> int:
        """The number of a request's id in `request_number`; -2 for one that no span names, -1 is none at all."""
        return self._numbers["request"].get(request, -2)

    def numbers_of(self, requests: Iterable[str]) -> Rows:
        """The number of each of some ids."""
        return np.array([self.number_of(request) for request in requests], dtype=np.int64)

    def calls(self, site: str) -> CallStretches:
        """The stretches of the calls at a site."""
        if site not in self._calls:
            rows = self.at(site)
            begins, who = self.value[rows] == CALLED, (self.pid[rows], self.request_number[rows])
            numbers = call_numbers(self.extra[rows] >> 1, begins, *who)
            self._calls[site] = call_stretches(rows, numbers, self.by_request(site))
        return self._calls[site]

    @cached_property
    def _calls(self) -> dict[str, CallStretches]:
        return {}

    @cached_property
    def stage(self) -> npt.NDArray[np.str_]:
        return self._texts["stage"][self._codes["stage"]]

    @cached_property
    def role(self) -> npt.NDArray[np.str_]:
        return self._texts["role"][self._codes["role"]]

    @cached_property
    def share(self) -> npt.NDArray[np.str_]:
        return self._texts["share"][self._codes["share"]]

    def has(self, column: str, rows: Rows | slice, *texts: str) -> npt.NDArray[np.bool_]:
        """Which of some rows have one of some texts as their `site`, `stage`, `role` or `share`."""
        codes, numbers = self._codes[column][rows], self._numbers[column]
        first, *others = (codes == numbers.get(text, -2) for text in texts)
        for other in others:
            first |= other
        return first

    def is_at(self, rows: Rows, *sites: str) -> npt.NDArray[np.bool_]:
        """Which of some rows are of some sites."""
        return self.has("site", rows, *sites)

    def first_row(self, request: str, site: str) -> int:
        """The first row of a request at a site; -1 where it has none."""
        return int(next(iter(self.rows(request, site)), -1))

    def last_row(self, request: str, site: str) -> int:
        """The last row of a request at a site; -1 where it has none."""
        return int(next(iter(self.rows(request, site)[::-1]), -1))

    @cached_property
    def _schedules(self) -> dict[str, RequestSchedule]:
        return schedules(self.timeline.batches)

    @cached_property
    def stopped(self) -> dict[str, int]:
        """By request that the front end ended at a stop string: the key of the message that held it."""
        rows = self.timeline.stopped
        return dict(zip(rows["request"].astype(str), rows["key"].astype(int), strict=True))

    def chunks(self, request: str) -> int:
        """The steps of a request that computed a part of its prompt only, and so no token of its output."""
        admitted = self.first_row(request, "core.add_request")
        prompt = int(self.value[admitted]) if admitted >= 0 else 0
        tokens = self._schedules[request].tokens if request in self._schedules else NONE
        return int((np.cumsum(tokens) < prompt - self.cached(request)).sum())

    def cached(self, request: str) -> int:
        """The tokens of a request's prompt that were in the prefix cache when it first ran: in its last look-up until
        then, as one that finds no room is looked up again."""
        looks = self.rows(request, "kv.lookup")
        if request in self._schedules:
            looks = looks[self.step[looks] <= self._schedules[request].steps[0]]
        return int(self.value[looks[-1]]) if len(looks) else 0

    def steps_of(self, request: str) -> tuple[int, Rows]:
        """The core that scheduled a request (0 where none did) and the numbers of its steps."""
        return self._schedules[request][:2] if request in self._schedules else (self._seen_in(request), NONE)

    def _seen_in(self, request: str) -> int:
        rows = self.rows(request, "core.add_request", "core.preprocess", "core.receive")
        return int(self.pid[rows[0]]) if len(rows) else 0

    @cached_property
    def cuts(self) -> CutSpans:
        """The spans in pieces."""
        return CutSpans(self.timeline.spans)

    @cached_property
    def sent(self) -> SentMessages:
        """The messages of the cores."""
        rows = self.at("client.receive", "output.process")
        arrived = pd.DataFrame({"key": self.step[rows], "front": self.pid[rows]})
        return SentMessages(self.timeline.messages, arrived)

    @cached_property
    def _update_ends(self) -> dict[int, dict[int, tuple[int, int]]]:
        ends = {}
        rows = self.at("scheduler.update")
        for core in np.unique(self.pid[rows]).tolist():
            steps, mine = self.by_step("scheduler.update", core)
            until = zip(mine.tolist(), np.maximum.accumulate(self.end[mine]).tolist(), strict=True)
            ends[core] = dict(zip(steps.tolist(), until, strict=True))
        return ends

    def update_ends(self, pid: int) -> dict[int, tuple[int, int]]:
        """By step of a core: the row of its update, and when that and all before it had ended."""
        return self._update_ends.get(pid, {})

    @cached_property
    def _handled(self) -> dict[int, dict[int, int]]:
        ends: dict[int, dict[int, int]] = {}
        rows = self.at("output.process")
        for row in rows[np.argsort(-self.end[rows], kind="stable")].tolist():
            ends.setdefault(int(self.pid[row]), {})[int(self.step[row])] = int(self.end[row])
        return ends

    def handled(self, pid: int) -> dict[int, int]:
        """By key of a message to a front end: when it had been handled."""
        return self._handled.get(pid, {})

    @cached_property
    def main_threads(self) -> dict[tuple[int, int], str]:
        """The role of each thread with spans, by process and thread."""
        return main_roles(self.timeline.spans)

    def threads_of(self, core_pid: int, front_pid: int) -> list[tuple[int, int]]:
        """The main threads of a front end, a core and its workers, each with its process."""
        return [
            (pid, thread)
            for (pid, thread), role in self.main_threads.items()
            if role in ("front end", "core", "worker")
            and (front_pid if role == "front end" else core_pid) in (pid, self.cores.get(pid))
        ]

    def threads(self, rows: Rows) -> Rows:
        """A number for the thread of each of some spans, distinct over all processes."""
        return self.pid[rows] << 32 | self.thread[rows]

    @cached_property
    def _by_step(self) -> dict[tuple[str, int], tuple[Rows, Rows]]:
        return {}

    def with_step(self, site: str, pid: int, steps: Rows) -> Rows:
        """The rows of a site in a process that belong to some steps, or carry some keys."""
        numbers, rows = self.by_step(site, pid)
        return np.sort(rows[among(numbers, steps)])

    def by_step(self, site: str, pid: int) -> tuple[Rows, Rows]:
        """The steps, or keys, of a site's spans in a process, in order, and their rows."""
        if (site, pid) not in self._by_step:
            rows = self.at(site)
            self._by_step[site, pid] = self._sorted(rows[self.pid[rows] == pid])
        return self._by_step[site, pid]

    def first_with(self, site: str, pid: int, steps: Rows) -> Rows:
        """The first row of a site in a process that belongs to each of some steps, or carries each key; -1: none."""
        numbers, rows = self.by_step(site, pid)
        place = np.searchsorted(numbers, steps, side="left")
        return np.where(np.append(numbers, -2)[place] == steps, np.append(rows, -1)[place], -1)

    def last_with(self, site: str, pid: int, steps: Rows) -> Rows:
        """The last row of a site in a process that belongs to each of some steps, or carries each key; -1: none."""
        numbers, rows = self.by_step(site, pid)
        place = np.searchsorted(numbers, steps, side="right")
        return np.where(np.append(-2, numbers)[place] == steps, np.append(-1, rows)[place], -1)

    @cached_property
    def cores(self) -> dict[int, int]:
        """The core that each process works for: itself, or a worker's parent."""
        return core_of(self.timeline)

    @cached_property
    def held_back(self) -> dict[int, ReasonTimes]:
        """By core: for which stretches of time one reason kept requests in its queue."""
        return reason_times(self.timeline)

    @cached_property
    def stepped(self) -> dict[int, tuple[Rows, Rows]]:
        """By core: the steps, in order, of all spans of its own and its workers that carry one, and their rows."""
        ours = np.flatnonzero(self.has("role", slice(None), "core", "worker") & (self.step >= 0))
        served = {core: [pid for pid, owner in self.cores.items() if owner == core] for core in self.cores.values()}
        return {core: self._sorted(ours[np.isin(self.pid[ours], pids)]) for core, pids in served.items()}

    @cached_property
    def keyed(self) -> tuple[Rows, Rows]:
        """The keys, in order, of all spans in front ends and output threads that carry one, and their rows."""
        ours = self.has("role", slice(None), "front end", "core output") & (self.step >= 0)
        return self._sorted(np.flatnonzero(ours))

    def _sorted(self, rows: Rows) -> tuple[Rows, Rows]:
        order = np.argsort(self.step[rows], kind="stable")
        return self.step[rows[order]], rows[order]
