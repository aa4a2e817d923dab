"""What a load run measures next: what is missing, as far as its budget goes."""

from __future__ import annotations

import io
import math
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from rich.console import Console

from offline.load.budget import Budget
from offline.load.folder import LoadFolder, read_load_run
from offline.load.planning.spec import LoadSpec
from offline.load.preparation import PreparedLoad
from offline.load.progress import LoadProgress
from offline.load.records import VariantStart
from offline.load.runner import LoadRunner, Place
from offline.variants.cards import Card
from offline.variants.variant import Variant
from tests.offline.traffic.loadruns import BASELINE, CHUNKED, PAGE, a_load_run


@dataclass
class PlannedRunner(LoadRunner):
    """Notes each start with its rates, and starts nothing."""

    starts: list[tuple[str, list[float | None]]] = field(default_factory=list)

    def _start(self, variant: Variant, rates: list[float | None], place: Place | None = None) -> str:
        self.starts.append((variant.name, rates))
        return "complete"


def continued(path: Path, spec: LoadSpec, budget_s: float) -> PlannedRunner:
    """The runner of a run whose folder has one start of each variant at 0.5 requests/s."""
    run = replace(read_load_run(a_load_run(path, rates=(0.5,), requests=20, starts=1)), spec=spec)
    prepared = PreparedLoad(LoadFolder(next(path.glob("*/load/*"))), run, "org/m")
    progress = LoadProgress(750.0, Console(file=io.StringIO()))
    return PlannedRunner(prepared, progress, Budget(spec, time.monotonic() + budget_s))


def test_a_run_measures_what_it_lacks(tmp_path: Path) -> None:
    runner = continued(tmp_path, LoadSpec(rates=(2.0, 0.5), starts=1), budget_s=3600.0)
    runner.run()
    assert runner.starts == [(name, [2.0]) for name in (BASELINE, PAGE, CHUNKED)]


def test_the_time_left_of_a_run_that_is_continued_is_by_its_own_pace(tmp_path: Path) -> None:
    """Of each of three variants a start (40 s) and two of three levels (60 and 75 s) are over, and 75 s are left."""
    runner = continued(tmp_path, LoadSpec(rates=(0.5, 2.0), duration_s=60.0, starts=1), budget_s=3600.0)
    assert (runner.progress.done_s, runner.progress.left()) == (525.0, "3 min 45 s left")
    runner.progress.passed(225.0)
    assert runner.progress.left() == "beyond the estimate"  # as the trials of a search are


def test_rates_that_the_budget_left_out_are_not_measured(tmp_path: Path) -> None:
    """A rate takes 75 s, a start up to 40 s: there is time for one of the two, and twice the first is far too high."""
    runner = continued(tmp_path, LoadSpec(rates=(0.5, 2.0, 8.0), duration_s=60.0, starts=1), budget_s=150.0)
    runner.budget.overloaded = dict.fromkeys((BASELINE, PAGE, CHUNKED), 2.0)
    runner.run()
    assert runner.starts == [(name, [2.0]) for name in (BASELINE, PAGE, CHUNKED)]
    assert f"{PAGE} at 8 requests/s left out of a start: far above what it keeps up with" in runner.remarks


class SlowLevels:
    """Levels of a start; each that is measured takes a minute off the runner's budget."""

    def __init__(self, runner: LoadRunner) -> None:
        self.runner, self.start = runner, VariantStart(PAGE, 1, "vllm", {})
        self.rates: list[float | None] = []

    def measure(self, rate: float | None, schedule: Path) -> None:
        self.rates.append(rate)
        self.runner.budget.deadline_s -= 60.0


def test_a_start_that_took_longer_than_planned_leaves_out_what_the_budget_has_no_time_for(tmp_path: Path) -> None:
    """A rate takes 75 s, one request at a time 60 s, and 200 s are left once the engine is up."""
    runner = continued(tmp_path, LoadSpec(rates=(0.5, 2.0, 8.0), duration_s=60.0, starts=1), budget_s=200.0)
    levels, rates = SlowLevels(runner), [None, 0.5, 2.0, 8.0]
    runner._measure_all(levels, rates)
    assert (levels.rates, rates) == ([None, 0.5, 2.0], [])
    assert runner.remarks == [f"{PAGE} at 8 requests/s left out of a start: the budget is spent"]


CARDS = (Card("A", {}), Card("B", {}))


class HalfRunner(PlannedRunner):
    """Its first start fails after one level, while another card's start measured all levels of the variant."""

    def _start(self, variant: Variant, rates: list[float | None], place: Place | None = None) -> str:
        self.starts.append((variant.name, list(rates)))
        if len(self.starts) > 1:
            return "complete"
        del rates[0]
        self.measurements.update({(variant.name, rate): 1 for rate in (None, 0.5, 2.0, 8.0)})
        return "failed"


def test_what_a_failed_start_left_is_measured_whatever_another_card_measured_meanwhile(tmp_path: Path) -> None:
    plan = continued(tmp_path, LoadSpec(rates=(0.5, 2.0, 8.0), starts=1), budget_s=3600.0)
    runner = HalfRunner(plan.prepared, plan.progress, Budget(plan.budget.spec))
    page = runner.prepared.run.variants[1]
    runner._measure((page, 0))
    assert runner.starts == [(PAGE, [2.0, 8.0]), (PAGE, [8.0])]


def test_two_cards_take_half_the_time(tmp_path: Path) -> None:
    """Three variants with a start each take the time of two: 235 s each, of which 75 s a rate."""
    plan = continued(tmp_path, LoadSpec(rates=(0.5, 2.0), duration_s=60.0, starts=1), budget_s=3600.0)
    prepared = replace(plan.prepared, cards=CARDS)
    assert prepared.at_once == 1.5
    progress = LoadProgress(500.0, Console(file=io.StringIO()), prepared.at_once)
    runner = LoadRunner(prepared, progress, Budget(plan.budget.spec))
    assert (progress.done_s, progress.left()) == (350.0, "2 min 30 s left")
    runner.progress.passed(3 * 75.0)
    assert progress.done_s == 500.0


@pytest.mark.parametrize(("cards", "share_s"), [((), 20.0), (CARDS, 30.0)])
def test_a_search_has_its_share_of_the_budget(tmp_path: Path, cards: tuple[Card, ...], share_s: float) -> None:
    """Of three starts to come two cards do the second round with one: each has half of the 60 s."""
    plan = continued(tmp_path, LoadSpec(knee=True, starts=2), budget_s=3600.0)
    budget = Budget(plan.budget.spec, time.monotonic() + 60.0)
    runner = LoadRunner(replace(plan.prepared, cards=cards), plan.progress, budget)
    assert runner.share_end_s() - time.monotonic() == pytest.approx(share_s, abs=1.0)


def test_without_a_budget_there_is_time_for_everything() -> None:
    budget = Budget(LoadSpec(rates=(1.0,)))
    assert budget.holds(1e9) and budget.share_end_s(starts=3, places=1) == math.inf
