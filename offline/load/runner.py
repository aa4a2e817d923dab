"""Measures what a load run's plan asks for and its folder does not have yet: start, warm up, measure, clean up."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from offline.load.folder import (
    append_rate,
    compress,
    read_rates,
    read_start,
    start_folders,
    write_start,
)
from offline.load.preparation import START_S, WARM_UP, PreparedLoad
from offline.load.progress import LoadProgress
from offline.load.records import MeasuredRate, VariantStart
from offline.load.schedule import ONE_AT_A_TIME
from offline.load.sender import start_sender
from offline.variants.process import start_process
from offline.variants.variant import Variant
from probes.jsonform import read_record
from probes.processes.engine import EngineFailed, EngineProcess

LIMIT_S = 600.0  # for a start or a warm-up
SLACK_S = 120.0  # for a rate, beyond its duration and its drain
TRIES = 2  # of a start that fails
OVERLOAD = 0.1  # of the requests unfinished at the end: such a rate is too high, for the budget's choice only
FAR = 2.0  # times such a rate: what is left out first where the budget ends

RateKey = tuple[str, float | None]


@dataclass
class LoadRunner:
    """One run in progress. `deadline_s` is the end of the budget, of `time.monotonic`."""

    prepared: PreparedLoad
    progress: LoadProgress
    deadline_s: float | None = None
    measured: Counter[RateKey] = field(default_factory=Counter)
    overloaded: dict[str, float] = field(default_factory=dict)  # by variant, the lowest rate that was too high
    failed: bool = False
    left_out: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for folder in start_folders(self.prepared.folder.path):
            self._close_interrupted(folder)
            for rate in read_rates(folder):
                self._note(rate)

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
        levels: list[float | None] = [None, *sorted(self.prepared.run.spec.rates)]
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
            words = f"{variant.name} at {', '.join(map(level_name, rates))} left out of a start: {why}"
            self.left_out.append(words)
            self.progress.warn(words)
            self.progress.passed(sum(map(self.level_s, rates)))

    # --- one start ---

    def _tried(self, variant: Variant, rates: list[float | None], number: int) -> bool:
        """Measure in a start, and in another where that fails; whether one did it all."""
        for _ in range(TRIES):
            state = self._start(variant, self.missing(variant, number) if rates else rates)
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
            with processes(variant, path) as (engine, sender):
                start = self._begun(start, engine, path)
                for rate in rates:
                    self._measure(start, rate, engine, sender, path)
                engine.stop()
            start = replace(start, state="complete")
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

    def _begun(self, start: VariantStart, engine: EngineProcess, path: Path) -> VariantStart:
        """Wait for the variant, keep what it resolved to, and warm it up."""
        settings = start.settings | ({"model": str(self.prepared.model)} if start.kind != "server" else {})
        answer = engine.ask({"do": "start", "settings": settings}, LIMIT_S)
        values = {name: getattr(start, name) for name in ("variant", "start", "kind", "settings")}
        start = read_record(VariantStart, values | answer)
        write_start(path, start)
        self.progress.tell(f"{start.variant}, start {start.start}: up after {start.startup_s:.1f} s, warming up")
        engine.ask({"do": "warm_up", "schedule": str(self._schedule(WARM_UP))}, LIMIT_S)
        self.progress.passed(START_S[start.kind])
        return start

    def _measure(
        self, start: VariantStart, rate: float | None, engine: EngineProcess, sender: EngineProcess, path: Path
    ) -> None:
        """One level: the sender replays its schedule, the variant writes what becomes of it."""
        self.progress.tell(f"{start.variant}, start {start.start}: {level_name(rate)}")
        spec, scratch = self.prepared.run.spec, engine.child.scratch
        assert scratch is not None
        schedule = str(self._schedule(ONE_AT_A_TIME if rate is None else f"{rate:g}"))
        link = {"schedule": schedule, "socket": str(scratch / "sender")}
        engine.send(
            {"do": "rate", "folder": str(path), "variant": start.variant, "start": start.start, "drain_s": spec.drain_s}
            | link
        )
        sender.send({"do": "send"} | link)
        limit_s = spec.duration_s + spec.drain_s + SLACK_S
        measured = read_record(MeasuredRate, engine.receive(limit_s))
        sender.receive(SLACK_S)
        append_rate(path, measured)
        self._note(measured)
        self.progress.passed(self.level_s(rate))

    def _schedule(self, name: str) -> Path:
        return self.prepared.folder.path / "schedules" / f"{name}.jsonl"

    def _note(self, rate: MeasuredRate) -> None:
        self.measured[rate.variant, rate.rate_req_s] += 1
        if rate.rate_req_s is not None and rate.unfinished > OVERLOAD * rate.sent:
            lowest = self.overloaded.get(rate.variant, rate.rate_req_s)
            self.overloaded[rate.variant] = min(lowest, rate.rate_req_s)

    def _close_interrupted(self, folder: Path) -> None:
        """A start that was running when the command was killed is over."""
        start = read_start(folder)
        if start.state == "running":
            write_start(folder, replace(start, state="interrupted"))
        compress(folder)


@contextlib.contextmanager
def processes(variant: Variant, path: Path) -> Iterator[tuple[EngineProcess, EngineProcess]]:
    """The variant's process and the sender's; nothing of them outlives the block."""
    with start_process(variant.kind, path / "log.txt") as engine, start_sender(path / "sender.txt") as sender:
        yield engine, sender


def level_name(rate: float | None) -> str:
    """A level for people."""
    return "one at a time" if rate is None else f"{rate:g} requests/s"
