"""The search for a variant's knee in one start: one rate after the other, each chosen by the verdicts so far."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from offline.load.folder import read_requests
from offline.load.planning.plans import rate_schedule, schedule_head, search_scatter
from offline.load.planning.schedule import write_schedule
from offline.load.preparation import PreparedLoad
from offline.load.records import MeasuredRate
from offline.traffic.figures import rate_backlog
from offline.traffic.knee import WIDTH, Bracket, RateTrial, bracket, most_requests, next_trial, short_requests
from offline.workload.files import read_workload
from offline.workload.source import WorkloadSource

MAKING = threading.Lock()  # starts on several cards search at the same time
FIRST = 16.0  # times the rate of one at a time: most likely more than it keeps up with, which shows soon
FIRST_SHARE = 0.25  # of the time left, for the first trial


@dataclass
class KneeSearch:
    """The trials of one start so far; `alone` is its level of one at a time, `left_s` the time that it may take."""

    prepared: PreparedLoad
    alone: MeasuredRate | None
    left_s: float
    trials: list[RateTrial] = field(default_factory=list)

    @cached_property
    def source(self) -> WorkloadSource:
        """The workload, read once for all trials."""
        return read_workload(self.prepared.run.spec.workload, str(self.prepared.model))

    @cached_property
    def scatter(self) -> float:
        """That of the arrivals, as `search_scatter` counts requests for it."""
        return search_scatter(self.prepared.run.spec, self.source)

    def next(self) -> RateTrial | None:
        """What to try next; None where the bracket is narrow enough."""
        first = start_rate(self.prepared.run.spec.rates, self.alone, short_requests(self.scatter), self.left_s)
        return next_trial(self.trials, first, self.scatter)

    def schedule(self, trial: RateTrial) -> Path:
        """The schedule of a trial: made by the first variant that needs it, replayed on the others."""
        path = self.prepared.folder.path / "schedules" / f"{trial.rate_req_s:.6g}-{trial.requests}.jsonl"
        with MAKING:
            if path.exists():
                return path
            model, source = self.prepared.model, self.source
            spec = replace(self.prepared.run.spec, duration_s=trial.requests / trial.rate_req_s)
            head = replace(schedule_head(spec, model, source), rate_req_s=trial.rate_req_s)
            write_schedule(path, rate_schedule(source, head, trial.rate_req_s, model))
        return path

    def judge(self, trial: RateTrial, level: MeasuredRate, folder: Path) -> str:
        """Note a trial with the verdict on its backlog, and say it."""
        backlog = rate_backlog([each for each in read_requests(folder) if level.holds(each)])
        self.trials.append(trial.judged(backlog))
        return backlog.sentence

    @property
    def limit(self) -> str:
        """What keeps a search that has ended by itself from a narrower bracket; empty where it is narrow enough."""
        most = most_requests(self.scatter)
        return f"; {most:,} requests do not tell the rates between" if self.bracket.width > WIDTH else ""

    @property
    def bracket(self) -> Bracket:
        """The bracket of the trials so far."""
        return bracket(self.trials)


def start_rate(rates: tuple[float, ...], alone: MeasuredRate | None, requests: int, left_s: float) -> float:
    """Where a search begins: the first rate asked for, else 16 times the rate of one request at a time.

    A slow rate takes long: where its first trial would take more than a quarter of the time left, a faster one.
    """
    if rates:
        return rates[0]
    own = 1.0
    if alone is not None and alone.finished:
        own = alone.finished / ((alone.closed_ns - alone.begin_ns) / 1e9)
    return max(FIRST * own, requests / (FIRST_SHARE * left_s)) if left_s > 0 else FIRST * own
