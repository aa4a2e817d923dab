"""A load run on the nodes of a Ray cluster: each start is measured on one of them, and its files come back."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from offline.cluster.conditions import NodeConditions, conditions_here, models_here, unlike
from offline.cluster.files import read_files, write_files
from offline.cluster.nodes import ClusterNode, RayCluster
from offline.cluster.spread import PlaceLost, spread
from offline.load.budget import START_S, Budget
from offline.load.folder import LoadFolder, LoadRun, read_rates, read_start, write_start
from offline.load.preparation import PreparedLoad
from offline.load.progress import LoadProgress
from offline.load.records import VariantStart
from offline.load.runner import LoadRunner, Place
from offline.spec.model import mark
from offline.spec.models import recorded_model
from offline.variants.variant import Variant
from probes.processes.engine import EngineFailed

HERE = "start"  # the folder of a start where it is measured


@dataclass(frozen=True)
class StartElsewhere:
    """A start to be measured on a node: its run, of this variant alone, and the schedules by their files' names.

    `left_s` are the seconds of the budget that it may use, infinity where there is none.
    """

    run: LoadRun
    schedules: dict[str, bytes]
    variant: Variant
    number: int
    rates: tuple[float | None, ...]
    left_s: float


@dataclass(frozen=True)
class GatheredStart:
    """What came of it: its files by their names, rates that were not measured, and what the node is."""

    files: dict[str, bytes]
    searched: dict[str, bytes]  # schedules that a search made
    rest: tuple[float | None, ...]
    remarks: tuple[str, ...]
    node: NodeConditions


def measured_start(job: StartElsewhere) -> GatheredStart:
    """Measure a start on this node, in a folder that goes when its files are read."""
    model = models_here(recorded_model, job.run.model_path)
    with tempfile.TemporaryDirectory(prefix="enginescope-") as out:
        folder = LoadFolder.create(Path(out), job.run, {})
        write_files(folder.path / "schedules", job.schedules)
        (path := folder.path / "starts" / HERE).mkdir()
        progress = LoadProgress(job.run.estimate_s, Console(file=io.StringIO()))
        budget = Budget(job.run.spec, time.monotonic() + job.left_s)
        runner = LoadRunner(PreparedLoad(folder, job.run, model), progress, budget)
        rates = list(job.rates)
        runner.start_in(path, job.number, job.variant, rates)
        folder.close()
        new = read_files(folder.path / "schedules", without=job.schedules)
        return GatheredStart(read_files(path), new, tuple(rates), tuple(runner.remarks), conditions_here(mark(model)))


@dataclass
class ClusterLoadRunner(LoadRunner):
    """Has each start measured on a node; a start whose node is lost is measured again on another."""

    assignments: dict[tuple[str, int], list[float | None]] = field(
        default_factory=dict
    )  # what each start was to measure

    def run(self) -> None:
        """All starts of all variants, each on the next node that is free."""
        spread(self._cluster.nodes, self._tasks(), self._measure, self._stop)

    def missing(self, variant: Variant, number: int) -> list[float | None]:
        """The same answer for a start whose node was lost, though others may have measured these levels meanwhile."""
        return list(self.assignments.setdefault((variant.name, number), super().missing(variant, number)))

    def _stop(self) -> None:
        super()._stop()
        self._cluster.stop()

    def _start(self, variant: Variant, rates: list[float | None], place: Place | None = None) -> str:
        assert isinstance(place, ClusterNode)
        number, path = self.prepared.folder.new_start(variant.name)
        start = VariantStart(variant.name, number, variant.form, dict(variant.settings), card=place.name)
        write_start(path, start)
        self.progress.tell(f"{variant.name}, start {number}: on {place.name}")
        try:
            result = self._cluster.call(place, measured_start, self._job(variant, number, rates))
        except PlaceLost:
            write_start(path, replace(start, state="failed", reason="its node was lost"))
            self.progress.warn(f"{variant.name}, start {number}: {place.name} was lost; again on another")
            raise
        except EngineFailed:
            write_start(path, replace(start, state="interrupted"))
            return "interrupted"
        rates[:] = result.rest
        return self._gathered(path, place, result)

    def _job(self, variant: Variant, number: int, rates: Sequence[float | None]) -> StartElsewhere:
        run = self.prepared.run
        alone = replace(run, variants=(variant,), spec=replace(run.spec, starts=1))
        end_s = self.share_end_s() if run.spec.knee else self.budget.deadline_s
        schedules = read_files(self.prepared.folder.path / "schedules")
        return StartElsewhere(alone, schedules, variant, number, tuple(rates), end_s - time.monotonic())

    def _gathered(self, path: Path, node: ClusterNode, result: GatheredStart) -> str:
        """Keep what a start left, and count it."""
        write_files(path, result.files)
        write_files(self.prepared.folder.path / "schedules", result.searched)
        start = replace(read_start(path), card=node.name)
        write_start(path, start)
        for rate in read_rates(path):
            self.note(rate)
        with self.lock:
            self.complete[start.variant] += start.state == "complete"
            self.progress.passed(START_S[start.kind])
            differing = unlike(node, self.prepared.run, result.node)
            self.remarks += [*result.remarks, *(each for each in differing if each not in self.remarks)]
        if start.reason:
            self.progress.warn(f"{start.state}: {start.variant}, start {start.start}: {start.reason}")
        return start.state

    @property
    def _cluster(self) -> RayCluster:
        assert self.prepared.cluster is not None
        return self.prepared.cluster


def load_runner(prepared: PreparedLoad, progress: LoadProgress, budget: Budget, remarks: list[str]) -> LoadRunner:
    """What measures a run, on this machine or on the nodes of its cluster."""
    runner = ClusterLoadRunner if prepared.cluster else LoadRunner
    return runner(prepared, progress, budget, remarks=remarks)
