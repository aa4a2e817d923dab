"""Measures what a load run's plan asks for and its folder does not have yet: start, warm up, measure, clean up."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from offline.cluster.nodes import ClusterNode
from offline.cluster.spread import spread
from offline.load.budget import SPENT, START_S, TRIAL_DRAIN_S, Budget, level_s
from offline.load.folder import closed_start, compress, read_rates, start_folders, write_start
from offline.load.kneesearch import KneeSearch
from offline.load.levels import UNIT, Levels
from offline.load.planning.schedule import level_name, schedule_name
from offline.load.preparation import WARM_UP, PreparedLoad
from offline.load.progress import LoadProgress
from offline.load.records import MeasuredRate, VariantStart
from offline.variants.cards import Card
from offline.variants.started import StartedVariant, started
from offline.variants.variant import Variant
from probes.jsonform import read_record
from probes.processes.engine import EngineFailed

LIMIT_S = 600.0  # for a start or a warm-up
TRIES = 2  # of a start that fails

RateKey = tuple[str, float | None]
Place = Card | ClusterNode  # with one start at a time


@dataclass
class LoadRunner:
    """One run in progress."""

    prepared: PreparedLoad
    progress: LoadProgress
    budget: Budget
    measurements: Counter[RateKey] = field(default_factory=Counter)
    complete: Counter[str] = field(default_factory=Counter)  # starts that did all they had to, by variant
    given_up: set[str] = field(default_factory=set)  # variants that failed
    live: list[StartedVariant] = field(default_factory=list)
    stopping: bool = False
    failed: bool = False
    remarks: list[str] = field(default_factory=list)  # what was left out, and the knees
    lock: threading.Lock = field(default_factory=threading.Lock)  # of the counts, where several cards measure

    def __post_init__(self) -> None:
        for folder in start_folders(self.prepared.folder.path):
            start = closed_start(folder)
            is_complete = start.state == "complete"
            self.complete[start.variant] += is_complete
            self.progress.passed(START_S[start.kind] * is_complete)
            for rate in read_rates(folder):
                self.note(rate)
        self.progress.begin()

    def run(self) -> None:
        """All starts of all variants, in turn; every second round in reverse order."""
        if self.prepared.cards:
            spread(self.prepared.cards, self._tasks(), self._measure, self._stop)
            return
        for task in self._tasks():
            self._measure(task)

    def _tasks(self) -> Iterator[tuple[Variant, int]]:
        variants = self.prepared.run.variants
        for number in range(self.prepared.run.spec.starts):
            for variant in variants if number % 2 == 0 else variants[::-1]:
                if not self.stopping:
                    yield variant, number

    def _measure(self, task: tuple[Variant, int], place: Place | None = None) -> None:
        """A start of a variant with what is missing, in a place of its own where there are several."""
        variant, number = task
        rates, exclusions = self.budget.choice(variant, self.missing(variant, number))
        for levels, why in exclusions:
            self._leave_out(variant.name, levels, why)
        if rates and variant.name not in self.given_up and not self._tried(variant, rates, place):
            self.given_up.add(variant.name)
            self.failed = True

    def _stop(self) -> None:
        """End what runs on all cards, from another thread; such starts are interrupted."""
        self.stopping = True
        for each in list(self.live):
            each.end()

    def missing(self, variant: Variant, number: int) -> list[float | None]:
        """The levels that are not measured in `number` + 1 starts yet: one at a time, then the rates upwards."""
        spec = self.prepared.run.spec
        if spec.knee:
            return [None] if self.complete[variant.name] <= number else []
        levels: list[float | None] = [None, *sorted(spec.rates)]
        return [level for level in levels if self.measurements[variant.name, level] <= number]

    def _leave_out(self, variant: str, rates: list[float | None], why: str) -> None:
        if rates:
            levels = ", ".join(level_name(rate, UNIT) for rate in rates)
            words = f"{variant} at {levels} left out of a start: {why}"
            self.remarks.append(words)
            self.progress.warn(words)
            self.progress.passed(sum(level_s(self.budget.spec, rate) for rate in rates))

    # --- one start ---

    def _tried(self, variant: Variant, rates: list[float | None], place: Place | None) -> bool:
        """Measure in a start, and in another what is left where that fails; whether all is measured."""
        for _ in range(TRIES):
            state = self._start(variant, rates, place)
            if state == "complete":
                return True
            if state != "failed":
                break
        return False

    def _start(self, variant: Variant, rates: list[float | None], place: Place | None = None) -> str:
        """One start from its process to its end; its state. Rates that it has measured are taken out of `rates`."""
        assert not isinstance(place, ClusterNode)
        number, path = self.prepared.folder.new_start(variant.name)
        return self.start_in(path, number, variant, rates, place)

    def start_in(
        self, path: Path, number: int, variant: Variant, rates: list[float | None], card: Card | None = None
    ) -> str:
        """The same in a folder of its own, which is there."""
        settings, name = dict(variant.settings), card.name if card else None
        start = VariantStart(variant.name, number, variant.form, settings, card=name)
        write_start(path, start)
        self.progress.tell(f"{variant.name}, start {number}: starting")
        try:
            with self._alive(variant, path, card) as live:
                start = self._begun(start, live, path)
                levels = Levels(start, live, path, self.prepared.run.spec, self.progress.tell, self.note)
                if self.prepared.run.spec.knee:
                    self._search(levels)
                else:
                    self._measure_all(levels, rates)
                live.engine.stop()
            start = replace(start, state="complete")
            with self.lock:
                self.complete[variant.name] += 1
        except EngineFailed as failure:
            starting = start.resolved is None
            state = "refused" if failure.refused and starting else "interrupted" if self.stopping else "failed"
            start = replace(start, state=state, reason=str(failure))
            self.progress.warn(f"{state}: {variant.name}, start {number}: {failure}")
        except BaseException:
            start = replace(start, state="interrupted")
            raise
        finally:
            write_start(path, start)
        compress(path)
        return start.state

    @contextlib.contextmanager
    def _alive(self, variant: Variant, path: Path, card: Card | None) -> Iterator[StartedVariant]:
        """A start's processes, which `_stop` ends too."""
        environment = card.environment if card else {}
        with started(variant, self.prepared.model, path, environment, LIMIT_S) as live:
            self.live.append(live)
            try:
                if self.stopping:
                    raise EngineFailed("another card's start ended the run")
                yield live
            finally:
                self.live.remove(live)

    def _begun(self, start: VariantStart, live: StartedVariant, path: Path) -> VariantStart:
        """Wait for the variant, keep what it resolved to, and warm it up."""
        engine = live.engine
        answer = engine.ask({"do": "start", "settings": dict(live.settings)}, LIMIT_S)
        start = read_record(VariantStart, asdict(start) | answer)
        start = replace(start, startup_s=live.server_s or start.startup_s)
        write_start(path, start)
        self.progress.tell(f"{start.variant}, start {start.start}: up after {start.startup_s:.1f} s, warming up")
        engine.ask({"do": "warm_up", "schedule": str(self._schedule(WARM_UP))}, LIMIT_S)
        self.progress.passed(START_S[start.kind])
        return start

    def _measure_all(self, levels: Levels, rates: list[float | None]) -> None:
        """Measure the rates in order; those that are left are another start's, should this one fail.

        Where the start took longer than planned, the budget leaves out the last ones.
        """
        while rates and self.budget.holds(level_s(self.budget.spec, rates[0])):
            levels.measure(rates[0], self._schedule(schedule_name(rates[0])))
            del rates[0]
        self._leave_out(levels.start.variant, rates, SPENT)
        rates.clear()

    def _search(self, levels: Levels) -> None:
        """Try rates until the knee's bracket is narrow enough, or this start's share of the budget is spent."""
        alone = levels.measure(None, self._schedule(schedule_name(None)))
        end_s, why = self.share_end_s(), ""
        search = KneeSearch(self.prepared, alone, end_s - time.monotonic())
        while (trial := search.next()) is not None:
            seconds = trial.requests / trial.rate_req_s
            if time.monotonic() + seconds + TRIAL_DRAIN_S > end_s:
                why = f"; no time was left for {trial.requests:,} requests at {level_name(trial.rate_req_s, UNIT)}"
                break
            level = levels.measure(trial.rate_req_s, search.schedule(trial), seconds)
            self.progress.warn(f"{level_name(trial.rate_req_s, UNIT)}: {search.judge(trial, level, levels.path)}")
        else:
            why = search.limit
        start = levels.start
        self.remarks.append(f"{start.variant}, start {start.start}: {search.bracket.sentence}{why}")
        self.progress.warn(self.remarks[-1])

    def share_end_s(self) -> float:
        """When a search that begins now has to end."""
        run = self.prepared.run
        starts = max(1, run.spec.starts * len(run.variants) - self.complete.total())
        return self.budget.share_end_s(starts, self.prepared.places)

    def _schedule(self, name: str) -> Path:
        return self.prepared.folder.path / "schedules" / f"{name}.jsonl"

    def note(self, rate: MeasuredRate) -> None:
        """Count a level that was measured."""
        with self.lock:
            self.measurements[rate.variant, rate.rate_req_s] += 1
            self.progress.passed(level_s(self.budget.spec, rate.rate_req_s))
            self.budget.note(rate)
