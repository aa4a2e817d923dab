"""A load run as its page shows it: figures of each rate on each start, with the raw lines that charts need."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from offline.load.folder import (
    LoadRun,
    read_load_run,
    read_rates,
    read_requests,
    read_starts,
    read_steps,
    start_folders,
)
from offline.load.records import ServedRequest, StepLine, VariantStart
from offline.traffic.backlog import NOT_SUSTAINED, SUSTAINED, UNDECIDED
from offline.traffic.figures import RateFigures, RequestTimes, rate_figures, request_times
from offline.traffic.knee import Bracket, RateTrial, bracket


@dataclass(frozen=True)
class RateResult:
    """One rate on one start: its figures, and its requests and steps in order."""

    figures: RateFigures
    requests: tuple[ServedRequest, ...]
    steps: tuple[StepLine, ...]

    @property
    def variant(self) -> str:
        """The variant's name."""
        return self.figures.measured.variant

    @property
    def rate_req_s(self) -> float | None:
        """The rate; None for one request at a time."""
        return self.figures.measured.rate_req_s

    @cached_property
    def times(self) -> list[RequestTimes]:
        """The times of its finished requests."""
        begin_ns = self.figures.measured.begin_ns
        return [times for each in self.requests if (times := request_times(each, begin_ns))]

    @property
    def errors(self) -> Counter[str]:
        """Why requests failed, and how many by each reason."""
        return Counter(each.error for each in self.requests if each.error)


@dataclass(frozen=True)
class LoadResults:
    """All that a run measured to its end."""

    run: LoadRun
    starts: tuple[VariantStart, ...]
    rates: tuple[RateResult, ...]

    @property
    def variants(self) -> list[str]:
        """The variants that have a figure, in the run's order."""
        measured = {each.variant for each in self.rates}
        return [variant.name for variant in self.run.variants if variant.name in measured]

    def levels(self, variant: str) -> list[float | None]:
        """The rates of a variant, one request at a time first."""
        rates = {each.rate_req_s for each in self.rates if each.variant == variant}
        return sorted(rates, key=lambda rate: rate or 0.0)

    def of(self, variant: str, rate_req_s: float | None) -> list[RateResult]:
        """A rate of a variant, of all its starts."""
        return [each for each in self.rates if each.variant == variant and each.rate_req_s == rate_req_s]

    def error(self, variant: str, rate_req_s: float | None) -> str:
        """Why most of the requests that failed did so, in the engine's words; empty where none says."""
        errors = sum((each.errors for each in self.of(variant, rate_req_s)), Counter[str]())
        return errors.most_common(1)[0][0] if errors else ""

    def verdict(self, variant: str, rate_req_s: float | None) -> str:
        """Whether a variant sustains a rate: what all its starts say, else undecided; empty for one at a time."""
        verdicts = {each.figures.verdict for each in self.of(variant, rate_req_s)}
        return verdicts.pop() if len(verdicts) == 1 else UNDECIDED

    def knee(self, variant: str) -> Bracket:
        """The bracket of the highest rate that a variant sustains."""
        rates = [rate for rate in self.levels(variant) if rate is not None]
        verdicts = [(rate, self.verdict(variant, rate)) for rate in rates]
        return bracket([RateTrial(r, 0, verdict) for r, verdict in verdicts if verdict in (SUSTAINED, NOT_SUSTAINED)])


def load_results(path: Path, run: LoadRun | None = None) -> LoadResults:
    """The results in a run's folder, by its record there or `run`; `EnginescopeError` where it is no load run."""
    run = run or read_load_run(path)
    rates = [result for folder in start_folders(path) for result in start_results(folder, run)]
    return LoadResults(run, tuple(read_starts(path)), tuple(rates))


def start_results(folder: Path, run: LoadRun) -> list[RateResult]:
    """The rates that one start measured to their ends; requests of an interrupted one are left out.

    A rate that a search tried again, with more requests, is that of its last trial.
    """
    requests, steps = list(read_requests(folder)), list(read_steps(folder))
    results = []
    for measured in {each.rate_req_s: each for each in read_rates(folder)}.values():
        own = [each for each in requests if measured.holds(each)]
        inside = [step for step in steps if measured.begin_ns <= step.start_ns <= measured.closed_ns]
        figures = rate_figures(measured, own, inside, run.spec.slo_s)
        results.append(RateResult(figures, tuple(own), tuple(inside)))
    return results
