"""The steps of an engine out of its rings: when each was scheduled, when its outputs were delivered, and what happened
in between: the delays that were made and the calls of the stages."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tracing.events.layout import COUNTS, DELAYED, DEVICE, LIST, MESSAGE, RAISED, RECORD, SPAN
from tracing.sites.engine import CODES
from tracing.timeline.intervals import Ints, Pieces, overlap, union
from tracing.whatif.devicework import delay_ns, work_ns
from tracing.whatif.stages import STAGES, DelayedStage

SCHEDULE, PROCESS, DELAY = CODES["scheduler.schedule"], CODES["output.process"], CODES["delay"]
SEND, DELIVER = CODES["client.send_async"], CODES["output.deliver"]
STAGE_CODES = [CODES[site] for stage in STAGES.values() for site in (stage.site, *stage.otherwise)]
KEPT_SITES = np.array([SCHEDULE, PROCESS, DELAY, SEND, DELIVER, *STAGE_CODES])
KEPT_LISTS = (COUNTS, MESSAGE, DEVICE, DELAYED)
APART = 2  # steps that a batch without decoding alone reaches before and after itself: so many are in flight


@dataclass(frozen=True)
class EngineSteps:
    """The steps that delivered outputs, in their order; times in ns of CLOCK_MONOTONIC, arrays of one length.

    `steady` are those that, like their neighbours, only decoded, one token for each stream.
    """

    number: Ints
    scheduled_ns: Ints
    delivered_ns: Ints
    steady: npt.NDArray[np.bool_]

    @property
    def lag_ns(self) -> Ints:
        """From the scheduling of each to its delivery."""
        return self.delivered_ns - self.scheduled_ns


@dataclass(frozen=True)
class ScheduledSteps:
    """Steps in their order, whatever became of them: when each was scheduled, with how many requests, and whether one
    of them was new; arrays of one length."""

    begin_ns: Ints
    requests: Ints
    prefills: npt.NDArray[np.bool_]


@dataclass
class EngineRecords:
    """What was taken out of the rings so far, by process id: the records that matter here, spans only of some sites."""

    sites: Ints = field(default_factory=lambda: KEPT_SITES)
    by_pid: dict[int, list[np.ndarray]] = field(default_factory=dict)
    unfinished: set[int] = field(default_factory=set)  # whose last record is a list's head: its payload comes next

    def add(self, pid: int, records: np.ndarray) -> None:
        """Keep what matters of records that follow those added before."""
        kind, site = records["kind"], records["site"]
        spans = ((kind == SPAN) | (kind == RAISED)) & np.isin(site, self.sites)
        heads = (kind == LIST) & np.isin(site, KEPT_LISTS)
        firsts = np.append(pid in self.unfinished, heads[:-1])  # of a list's payload
        self.by_pid.setdefault(pid, []).append(records[spans | heads | firsts])
        if len(records):
            (self.unfinished.add if heads[-1] else self.unfinished.discard)(pid)

    def whole(self) -> dict[int, np.ndarray]:
        """All of each process's."""
        return {pid: np.concatenate(parts) if parts else np.zeros(0, RECORD) for pid, parts in self.by_pid.items()}


@dataclass(frozen=True)
class RecordedEngine:
    """The records of an engine's processes, taken apart."""

    records: dict[int, np.ndarray]

    def cores(self) -> list[int]:
        """The processes that schedule."""
        return [pid for pid in self.records if len(self.spans(pid, SCHEDULE))]

    def spans(self, pid: int, code: int) -> np.ndarray:
        """The spans of a site in a process."""
        rows = self.records[pid]
        return rows[((rows["kind"] == SPAN) | (rows["kind"] == RAISED)) & (rows["site"] == code)]

    def scheduled(self, begin_ns: int, end_ns: int) -> ScheduledSteps:
        """The steps of the one core that scheduled a request in a time."""
        [core] = self.cores()
        schedule = self.spans(core, SCHEDULE)
        inside = (schedule["start"] >= begin_ns) & (schedule["start"] < end_ns) & (schedule["extra"] > 0)
        prefills = np.isin(schedule["step"][inside], _prefills(self.records[core]))
        return ScheduledSteps(schedule["start"][inside], schedule["extra"][inside].astype(np.int64), prefills)

    def steps(self, streams: int) -> EngineSteps:
        """The steps of the one core, of which so many streams are the load."""
        [core] = self.cores()
        rows, schedule = self.records[core], self.spans(core, SCHEDULE)
        alone = (schedule["extra"] == streams) & ~np.isin(schedule["step"], _prefills(rows))
        delivered_ns = self._delivered(rows)
        kept = np.isin(schedule["step"], list(delivered_ns))
        number = schedule["step"][kept].astype(np.int64)
        return EngineSteps(
            number,
            schedule["start"][kept].astype(np.int64),
            np.array([delivered_ns[step] for step in number.tolist()], dtype=np.int64),
            _steady(alone)[kept],
        )

    def _delivered(self, rows: np.ndarray) -> dict[int, int]:
        """When the last message of each step of a core had been processed in a front end."""
        processed = np.concatenate([self.spans(pid, PROCESS) for pid in self.records])
        moments = dict(zip(processed["step"].tolist(), processed["end"].tolist(), strict=True))
        heads = rows[(rows["kind"] == LIST) & (rows["site"] == MESSAGE)]
        delivered_ns: dict[int, int] = {}
        for step, key in zip(heads["step"].tolist(), heads["end"].tolist(), strict=True):
            if key in moments:
                delivered_ns[step] = max(moments[key], delivered_ns.get(step, 0))
        return delivered_ns

    def inside(self, code: int, windows: Pieces, delays_of: int | None = None) -> list[int]:
        """How much of some windows the calls of a site take in each process that has any, in ns.

        Of the site `delay`, those of one delayed site.
        """
        sums = []
        for pid in self.records:
            spans = self.spans(pid, code)
            if delays_of is not None:
                spans = spans[spans["value"] == delays_of]
            if len(spans):
                pieces = union(spans["start"].astype(np.int64), spans["end"].astype(np.int64))
                sums.append(int(overlap(pieces, *windows).sum()))
        return sums

    def time_ns(self, stage: DelayedStage, windows: Pieces) -> int:
        """How much of some windows a stage takes, in the process where it takes the most, or in its own, or on its
        device."""
        own = self.only(stage.pid)
        if stage.on_device:
            return max(work_ns(rows, windows) for rows in own.records.values())
        return max(own.inside(stage.code, windows), default=0)

    def delays_ns(self, stage: DelayedStage, windows: Pieces) -> list[int]:
        """The delays of a stage in some windows, in ns, of each process that made any."""
        if stage.on_device:
            return [each for rows in self.records.values() if (each := delay_ns(rows, stage.code, windows))]
        return [each for each in self.inside(DELAY, windows, stage.code) if each]

    def callers(self, code: int, begin_ns: int, end_ns: int) -> list[int]:
        """The processes that call a site in a time."""
        return [pid for pid in sorted(self.records) if self._count(pid, code, begin_ns, end_ns)]

    def calls(self, stage: DelayedStage, begin_ns: int, end_ns: int) -> int:
        """The most calls of a stage in a time that a process made, or those of its own."""
        pids = self.only(stage.pid).records
        return max((self._count(pid, stage.code, begin_ns, end_ns) for pid in pids), default=0)

    def only(self, pid: int) -> RecordedEngine:
        """One process's records; 0: all."""
        return RecordedEngine({pid: self.records[pid]}) if pid else self

    def _count(self, pid: int, code: int, begin_ns: int, end_ns: int) -> int:
        starts = self.spans(pid, code)["start"]
        return int(np.count_nonzero((starts >= begin_ns) & (starts < end_ns)))


def _prefills(rows: np.ndarray) -> Ints:
    """The steps of a core that scheduled a prefill: the first word of their counts is not 0."""
    heads = np.flatnonzero((rows["kind"] == LIST)[:-1] & (rows["site"] == COUNTS)[:-1])  # the last may lack its payload
    words = rows[heads + 1]["start"].astype(np.int64) & 0xFFFFFFFF
    return np.asarray(rows["step"][heads][words > 0], dtype=np.int64)


def _steady(alone: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Whether each of some steps in a row, and those in flight with it, decodes alone."""
    return np.convolve(~alone, np.ones(2 * APART + 1), "same")[: len(alone)] == 0 if len(alone) else alone
