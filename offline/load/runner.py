"""Measures what a load run's plan asks for and its folder does not have yet: start, warm up, measure, clean up."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from offline.load.folder import append_rate, compress, read_rates, read_start, start_folders, write_start
from offline.load.kneesearch import KneeSearch
from offline.load.preparation import START_S, WARM_UP, PreparedLoad
from offline.load.progress import LoadProgress
from offline.load.records import MeasuredRate, VariantStart
from offline.load.schedule import level_name, schedule_name
from offline.variants.ownserver import own_server
from offline.variants.process import start_variant
from offline.variants.sender import start_sender
from offline.variants.variant import SERVER, Variant
from probes.jsonform import read_record
from probes.processes.engine import EngineFailed, EngineProcess

LIMIT_S = 600.0  # for a start or a warm-up
SLACK_S = 120.0  # for a rate, beyond its duration and its drain
TRIES = 2  # of a start that fails
OVERLOAD = 0.1  # of the requests unfinished at the end: such a rate is too high, for the budget's choice only
FAR = 2.0  # times such a rate: what is left out first where the budget ends

UNIT = "requests/s"

RateKey = tuple[str, float | None]


@dataclass
class LoadRunner:
    """One run in progress. `deadline_s` is the end of the budget, of `time.monotonic`."""

    prepared: PreparedLoad
    progress: LoadProgress
    deadline_s: float | None = None
    measured: Counter[RateKey] = field(default_factory=Counter)
    complete: Counter[str] = field(default_factory=Counter)  # starts that did all they had to, by variant
    overloaded: dict[str, float] = field(default_factory=dict)  # by variant, the lowest rate that was too high
    failed: bool = False
    remarks: list[str] = field(default_factory=list)  # what was left out, and the knees

    def __post_init__(self) -> None:
        for folder in start_folders(self.prepared.folder.path):
            start = closed(folder)
            is_complete = start.state == "complete"
            self.complete[start.variant] += is_complete
            self.progress.passed(START_S[start.kind] * is_complete)
            for rate in read_rates(folder):
                self.note(rate)
        self.progress.begin()

    def run(self) -> None:
        """All starts of all variants, in turn; every second round in reverse order."""
        spec, variants, given_up = self.prepared.run.spec, self.prepared.run.variants, set[str]()
        for number in range(spec.starts):
            for variant in variants if number % 2 == 0 else variants[::-1]:
                rates = self.affordable(variant, self.missing(variant, number))
                if rates and variant.name not in given_up and not self._tried(variant, rates, number):
                    given_up.add(variant.name)
                    self.failed = True

    def missing(self, variant: Variant, number: int) -> list[float | None]:
        """The levels that are not measured in `number` + 1 starts yet: one at a time, then the rates upwards."""
        spec = self.prepared.run.spec
        if spec.knee:
            return [None] if self.complete[variant.name] <= number else []
        levels: list[float | None] = [None, *sorted(spec.rates)]
        return [level for level in levels if self.measured[variant.name, level] <= number]

    # --- the budget ---

    def affordable(self, variant: Variant, rates: list[float | None]) -> list[float | None]:
        """What of a start's rates the budget has time for: those far above what the variant keeps up with go first."""
        if self.deadline_s is None or not rates or self.start_s(variant, rates) <= self.deadline_s - time.monotonic():
            return rates
        highest = FAR * self.overloaded.get(variant.name, float("inf"))
        near = [rate for rate in rates if rate is None or rate < highest]
        self._leave_out(variant, [rate for rate in rates if rate not in near], "far above what it keeps up with")
        if near and self.start_s(variant, near) <= self.deadline_s - time.monotonic():
            return near
        self._leave_out(variant, near, "the budget is spent")
        return []

    def start_s(self, variant: Variant, rates: list[float | None]) -> float:
        """Seconds that a start with these rates should take."""
        return START_S[variant.kind] + sum(map(self.level_s, rates))

    def level_s(self, rate: float | None) -> float:
        """Seconds that a level should take."""
        spec = self.prepared.run.spec
        return spec.duration_s + (spec.drain_s / 2 if rate else 0.0)

    def _leave_out(self, variant: Variant, rates: list[float | None], why: str) -> None:
        if rates:
            levels = ", ".join(level_name(rate, UNIT) for rate in rates)
            words = f"{variant.name} at {levels} left out of a start: {why}"
            self.remarks.append(words)
            self.progress.warn(words)
            self.progress.passed(sum(map(self.level_s, rates)))

    # --- one start ---

    def _tried(self, variant: Variant, rates: list[float | None], number: int) -> bool:
        """Measure in a start, and in another where that fails; whether one did it all."""
        for _ in range(TRIES):
            state = self._start(variant, [rate for rate in self.missing(variant, number) if rate in rates])
            if state == "complete":
                return True
            if state == "refused":
                break
        return False

    def _start(self, variant: Variant, rates: list[float | None]) -> str:
        """One start from its process to its end; its state."""
        number, path = self.prepared.folder.new_start(variant.name)
        start = VariantStart(variant.name, number, variant.kind, dict(variant.settings))
        write_start(path, start)
        self.progress.tell(f"{variant.name}, start {number}: starting")
        try:
            with processes(variant, self.prepared.model, path) as (engine, sender, settings):
                start = self._begun(start, engine, settings, path)
                level = Level(self, start, engine, sender, path)
                for rate in rates:
                    level.measure(rate, self._schedule(schedule_name(rate)))
                if self.prepared.run.spec.knee:
                    self._search(level)
                engine.stop()
            start = replace(start, state="complete")
            self.complete[variant.name] += 1
        except EngineFailed as failure:
            starting = start.resolved is None
            state = "refused" if failure.refused and starting else "failed"
            start = replace(start, state=state, reason=str(failure))
            self.progress.warn(f"{state}: {variant.name}, start {number}: {failure}")
        except BaseException:
            start = replace(start, state="interrupted")
            raise
        finally:
            write_start(path, start)
        compress(path)
        return start.state

    def _begun(
        self, start: VariantStart, engine: EngineProcess, settings: Mapping[str, Any], path: Path
    ) -> VariantStart:
        """Wait for the variant, keep what it resolved to, and warm it up."""
        answer = engine.ask({"do": "start", "settings": dict(settings)}, LIMIT_S)
        values = {name: getattr(start, name) for name in ("variant", "start", "kind", "settings")}
        start = read_record(VariantStart, values | answer)
        write_start(path, start)
        self.progress.tell(f"{start.variant}, start {start.start}: up after {start.startup_s:.1f} s, warming up")
        engine.ask({"do": "warm_up", "schedule": str(self._schedule(WARM_UP))}, LIMIT_S)
        self.progress.passed(START_S[start.kind])
        return start

    def _search(self, level: Level) -> None:
        """Try rates until the knee's bracket is narrow enough, or this start's share of the budget is spent."""
        end_s, why = self._share_end_s(), ""
        search = KneeSearch(self.prepared, level.last, end_s - time.monotonic())
        while (trial := search.next()) is not None:
            seconds = trial.requests / trial.rate_req_s
            if time.monotonic() + seconds > end_s:
                why = f"; no time was left for {trial.requests:,} requests at {level_name(trial.rate_req_s, UNIT)}"
                break
            measured = level.measure(trial.rate_req_s, search.schedule(trial), seconds)
            self.progress.warn(f"{level_name(trial.rate_req_s, UNIT)}: {search.judge(trial, measured, level.path)}")
        else:
            why = search.limit
        self.remarks.append(f"{level.start.variant}, start {level.start.start}: {search.bracket.sentence}{why}")
        self.progress.warn(self.remarks[-1])

    def _share_end_s(self) -> float:
        """When a search has to end, so that the starts to come have as much of the budget each."""
        if self.deadline_s is None:
            return float("inf")
        run, now_s = self.prepared.run, time.monotonic()
        starts = run.spec.starts * len(run.variants) - self.complete.total()
        return now_s + (self.deadline_s - now_s) / max(1, starts)

    def _schedule(self, name: str) -> Path:
        return self.prepared.folder.path / "schedules" / f"{name}.jsonl"

    def note(self, rate: MeasuredRate) -> None:
        self.measured[rate.variant, rate.rate_req_s] += 1
        self.progress.passed(self.level_s(rate.rate_req_s))
        if rate.rate_req_s is not None and rate.unfinished > OVERLOAD * rate.sent:
            lowest = self.overloaded.get(rate.variant, rate.rate_req_s)
            self.overloaded[rate.variant] = min(lowest, rate.rate_req_s)


@dataclass
class Level:
    """Measures one level after the other on a start that is up; `last` is what the latest one gave."""

    runner: LoadRunner
    start: VariantStart
    engine: EngineProcess
    sender: EngineProcess
    path: Path
    last: MeasuredRate | None = None

    def measure(self, rate: float | None, schedule: Path, duration_s: float | None = None) -> MeasuredRate:
        """The sender replays a schedule, the variant writes what becomes of it."""
        start, spec, scratch = self.start, self.runner.prepared.run.spec, self.engine.child.scratch
        assert scratch is not None
        self.runner.progress.tell(f"{start.variant}, start {start.start}: {level_name(rate, UNIT)}")
        link = {"schedule": str(schedule), "socket": str(scratch / "sender")}
        name = {"folder": str(self.path), "variant": start.variant, "start": start.start}
        self.engine.send({"do": "rate", "drain_s": spec.drain_s} | name | link)
        self.sender.send({"do": "send"} | link)
        limit_s = (duration_s or spec.duration_s) + spec.drain_s + SLACK_S
        self.last = read_record(MeasuredRate, self.engine.receive(limit_s))
        self.sender.receive(SLACK_S)
        append_rate(self.path, self.last)
        self.runner.note(self.last)
        return self.last


@contextlib.contextmanager
def processes(
    variant: Variant, model: Path | str, path: Path
) -> Iterator[tuple[EngineProcess, EngineProcess, Mapping[str, Any]]]:
    """The variant's process, the sender's, and what the first is started with; nothing of them outlives the block."""
    with contextlib.ExitStack() as stack:
        kind, settings = variant.kind, {**variant.settings, "model": str(model)}
        if variant.serve:
            url = stack.enter_context(own_server(variant.settings, model, path / "server.txt", LIMIT_S))
            kind, settings = SERVER, {"base_url": url}
        engine = stack.enter_context(start_variant(kind, path / "log.txt", settings))
        yield engine, stack.enter_context(start_sender(path / "sender.txt")), settings


def closed(folder: Path) -> VariantStart:
    """A start of an earlier command; one that was running when that was killed is over."""
    start = read_start(folder)
    if start.state == "running":
        start = replace(start, state="interrupted")
        write_start(folder, start)
    compress(folder)
    return start
